"""Voucher campaigns, codes as hashes, redemptions; an index by which expiring credit is found."""

import config.ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ("billing", "0019_disputes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ExpiryNoticeRun',
            fields=[
                ('day', models.DateField(primary_key=True, serialize=False)),
                ('since', models.DateField(help_text='Losses from this day on are told.')),
                ('edge', models.JSONField(default=list)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name': 'mails about expiring credit',
                'verbose_name_plural': 'mails about expiring credit',
            },
        ),
        migrations.CreateModel(
            name='Redemption',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('at', models.DateTimeField(verbose_name='time')),
                ('result', models.CharField(choices=[('redeemed', 'Redeemed'), ('unknown', 'Unknown code'), ('used', 'Used before'), ('not_yet_valid', 'Not yet valid'), ('expired', 'Expired'), ('paused', 'Not open at present'), ('ended', 'Campaign ended'), ('limit_reached', 'Limit of the account reached'), ('exhausted', 'Campaign used up')], max_length=14, verbose_name='result')),
                ('shared', models.BooleanField(default=False, verbose_name='shared')),
                ('amount', models.DecimalField(blank=True, decimal_places=10, max_digits=24, null=True, verbose_name='amount')),
                ('last_four', models.CharField(max_length=4, verbose_name='last four')),
                ('digest', models.BinaryField(max_length=32)),
                ('key', models.CharField(help_text='Names the intent, for ever.', max_length=160, verbose_name='key')),
                ('client', models.BinaryField(help_text="A keyed hash of the caller's network.", max_length=16)),
            ],
            options={
                'verbose_name': 'redemption',
                'verbose_name_plural': 'redemptions',
                'indexes': [
                    models.Index(condition=models.Q(('result', 'redeemed'), _negated=True), fields=['client', 'at'], name='redemption_client'),
                    models.Index(condition=models.Q(('result', 'redeemed'), _negated=True), fields=['-id'], name='redemption_all_refused'),
                    models.Index(fields=['last_four'], name='redemption_last_four'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Voucher',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('digest', models.BinaryField(max_length=32)),
                ('last_four', models.CharField(max_length=4, verbose_name='last four')),
                ('shared', models.BooleanField(default=False, help_text='Redeemed by many accounts, by each once.', verbose_name='shared')),
                ('used_at', models.DateTimeField(blank=True, help_text='Of a code for one redemption.', null=True, verbose_name='used')),
                ('created_at', models.DateTimeField(verbose_name='made')),
            ],
            options={
                'verbose_name': 'voucher',
                'verbose_name_plural': 'vouchers',
                'indexes': [
                    models.Index(fields=['last_four'], name='voucher_last_four'),
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('digest',), name='voucher_digest'),
                    models.CheckConstraint(condition=models.Q(('shared', False), ('used_at', None), _connector='OR'), name='voucher_used_once'),
                ],
            },
        ),
        migrations.CreateModel(
            name='VoucherBatch',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('key', models.CharField(help_text='Names the intent, for ever.', max_length=80)),
                ('size', models.PositiveIntegerField(verbose_name='codes')),
                ('shared', models.BooleanField(default=False, help_text='One code that many accounts may redeem.', verbose_name='shared')),
                ('created_at', models.DateTimeField(verbose_name='made')),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True, verbose_name='withdrawn')),
            ],
            options={
                'verbose_name': 'batch of codes',
                'verbose_name_plural': 'batches of codes',
            },
        ),
        migrations.CreateModel(
            name='VoucherCampaign',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='For staff; customers read the note.', max_length=80, verbose_name='name')),
                ('kind', models.CharField(choices=[('voucher', 'Voucher'), ('promotion', 'Promotion'), ('compensation', 'Compensation')], max_length=14, verbose_name='kind')),
                ('amount', models.DecimalField(decimal_places=10, help_text='USD that each redemption gives.', max_digits=24, verbose_name='amount')),
                ('valid_from', models.DateTimeField(verbose_name='valid from')),
                ('valid_until', models.DateTimeField(blank=True, null=True, verbose_name='valid until')),
                ('per_account', models.PositiveIntegerField(default=1, verbose_name='limit per account')),
                ('total', models.PositiveIntegerField(verbose_name='redemptions at most')),
                ('credit_days', models.PositiveIntegerField(blank=True, null=True, verbose_name='credit lasts, in days')),
                ('credit_until', models.DateTimeField(blank=True, null=True, verbose_name='credit lasts until')),
                ('priority', models.SmallIntegerField(default=100, help_text='The lowest number is spent first.', verbose_name='priority')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note for the customer')),
                ('status', models.CharField(choices=[('draft', 'Draft'), ('active', 'Active'), ('paused', 'Paused'), ('ended', 'Ended')], default='draft', max_length=8, verbose_name='status')),
                ('status_at', models.DateTimeField(verbose_name='since')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('activated_at', models.DateTimeField(blank=True, null=True, verbose_name='activated')),
                ('codes_made', models.PositiveIntegerField(default=0, help_text='For one redemption each.', verbose_name='codes made')),
                ('redeemed', models.PositiveIntegerField(default=0, verbose_name='redeemed')),
            ],
            options={
                'verbose_name': 'voucher campaign',
                'verbose_name_plural': 'voucher campaigns',
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='campaign_amount'),
                    models.CheckConstraint(condition=models.Q(('per_account__gt', 0), ('total__gt', 0)), name='campaign_limits'),
                    models.CheckConstraint(condition=models.Q(('redeemed__lte', models.F('total'))), name='campaign_redeemed'),
                    models.CheckConstraint(condition=models.Q(('codes_made__lte', models.F('total'))), name='campaign_codes'),
                    models.CheckConstraint(condition=models.Q(('credit_days__isnull', True), ('credit_until__isnull', True), _connector='OR'), name='campaign_one_expiry'),
                    models.CheckConstraint(condition=models.Q(('status__in', ['draft', 'active', 'paused', 'ended'])), name='campaign_status'),
                    models.CheckConstraint(condition=models.Q(('kind__in', ['voucher', 'promotion', 'compensation'])), name='campaign_kind'),
                ],
            },
        ),
        migrations.AddField(
            model_name='creditproposal',
            name='kind',
            field=models.CharField(choices=[('manual', 'Manual credit'), ('compensation', 'Compensation')], default='manual', max_length=12, verbose_name='kind'),
        ),
        migrations.AddIndex(
            model_name='creditgrant',
            index=models.Index(condition=models.Q(('expires_at__isnull', False)), fields=['expires_at', 'ledger'], name='grant_expiry'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='account',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account', verbose_name='account'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='grant',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='redemption', to='billing.creditgrant', verbose_name='credit grant'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='user',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='by'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='voucher',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='redemptions', to='billing.voucher', verbose_name='voucher'),
        ),
        migrations.AddField(
            model_name='voucherbatch',
            name='created_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='made by'),
        ),
        migrations.AddField(
            model_name='voucher',
            name='batch',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='vouchers', to='billing.voucherbatch'),
        ),
        migrations.AddField(
            model_name='vouchercampaign',
            name='activated_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='activated by'),
        ),
        migrations.AddField(
            model_name='vouchercampaign',
            name='created_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='created by'),
        ),
        migrations.AddField(
            model_name='voucherbatch',
            name='campaign',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='billing.vouchercampaign', verbose_name='campaign'),
        ),
        migrations.AddField(
            model_name='voucher',
            name='campaign',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='vouchers', to='billing.vouchercampaign', verbose_name='campaign'),
        ),
        migrations.AddField(
            model_name='redemption',
            name='campaign',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.vouchercampaign', verbose_name='campaign'),
        ),
        migrations.AddIndex(
            model_name='vouchercampaign',
            index=models.Index(fields=['created_by', 'activated_at'], name='campaign_by_person'),
        ),
        migrations.AddConstraint(
            model_name='voucherbatch',
            constraint=models.UniqueConstraint(fields=('campaign', 'key'), name='voucher_batch_once'),
        ),
        migrations.AddIndex(
            model_name='redemption',
            index=models.Index(fields=['account', '-id'], name='redemption_account'),
        ),
        migrations.AddIndex(
            model_name='redemption',
            index=models.Index(condition=models.Q(('result', 'redeemed')), fields=['account', 'campaign'], name='redemption_limit'),
        ),
        migrations.AddIndex(
            model_name='redemption',
            index=models.Index(condition=models.Q(('result', 'redeemed'), _negated=True), fields=['account', 'at'], name='redemption_refused'),
        ),
        migrations.AddIndex(
            model_name='redemption',
            index=models.Index(fields=['campaign', '-id'], name='redemption_campaign'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.UniqueConstraint(fields=('account', 'key'), name='redemption_key'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.UniqueConstraint(condition=models.Q(('result', 'redeemed'), ('shared', False)), fields=('voucher',), name='redemption_single_use'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.UniqueConstraint(condition=models.Q(('result', 'redeemed')), fields=('voucher', 'account'), name='redemption_once_each'),
        ),
        migrations.AddConstraint(
            model_name='redemption',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount__gt', 0), ('campaign__isnull', False), ('grant__isnull', False), ('result', 'redeemed'), ('voucher__isnull', False)), models.Q(models.Q(('result', 'redeemed'), _negated=True), ('amount__isnull', True), ('grant__isnull', True)), _connector='OR'), name='redemption_gives'),
        ),
        # F013: what became of an attempt is evidence.
        migrations.RunSQL(
            "CREATE TRIGGER redemption_append_only BEFORE UPDATE OR DELETE ON billing_redemption "
            "FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change()",
            "DROP TRIGGER redemption_append_only ON billing_redemption",
        ),
    ]
