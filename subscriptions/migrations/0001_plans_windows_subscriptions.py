"""Plans, quota windows, Extra Usage, subscriptions and their invoices, with the functions that count Flows."""

from pathlib import Path

import config.ids
import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"
FUNCTIONS = ("move_flows", "settle_flows", "admit_flows")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
        ('billing', '0026_flow_funding'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('code', models.CharField(choices=[('', 'Every plan'), ('free', 'Free'), ('pro', 'Pro'), ('max', 'Max'), ('ultra', 'Ultra')], max_length=8, primary_key=True, serialize=False, verbose_name='code')),
                ('name', models.CharField(max_length=40, verbose_name='name')),
                ('rank', models.PositiveSmallIntegerField(help_text='A higher rank is an upgrade.', unique=True, verbose_name='rank')),
            ],
            options={
                'verbose_name': 'plan',
                'verbose_name_plural': 'plans',
                'ordering': ('rank',),
            },
        ),
        migrations.CreateModel(
            name='PlanVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(verbose_name='version')),
                ('price_usd', models.DecimalField(decimal_places=2, max_digits=12, verbose_name='price a month')),
                ('flows_5h', models.DecimalField(decimal_places=6, max_digits=20, verbose_name='Flows in five hours')),
                ('flows_week', models.DecimalField(decimal_places=6, max_digits=20, verbose_name='Flows in a week')),
                ('flows_period', models.DecimalField(decimal_places=6, max_digits=20, verbose_name='Flows in a billing period')),
                ('rpm', models.PositiveIntegerField(verbose_name='requests a minute')),
                ('model_slugs', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=120), size=None, verbose_name='models')),
                ('anchor_policy', models.CharField(choices=[('first_request', 'First request'), ('grid', "Grid from the period's start")], default='first_request', max_length=14, verbose_name='windows begin')),
                ('enforce_period_cap', models.BooleanField(default=True, help_text='Off: the period is counted and refuses nothing (C07).', verbose_name="enforce the period's cap")),
                ('effective_from', models.DateTimeField(verbose_name='from')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='subscriptions.plan', verbose_name='plan')),
            ],
            options={
                'verbose_name': 'plan version',
                'verbose_name_plural': 'plan versions',
                'ordering': ('plan__rank', '-number'),
            },
        ),
        migrations.CreateModel(
            name='ExtraUsageMonth',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('month', models.DateField(verbose_name='month')),
                ('spent', models.DecimalField(decimal_places=10, default=0, max_digits=24, verbose_name='spent')),
                ('held', models.DecimalField(decimal_places=10, default=0, max_digits=24, verbose_name='held')),
                ('calls', models.BigIntegerField(default=0, verbose_name='calls')),
                ('told', models.PositiveSmallIntegerField(default=0, verbose_name='told of')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='extra_usage_months', to='accounts.account')),
            ],
            options={
                'verbose_name': 'month of Extra Usage',
                'verbose_name_plural': 'months of Extra Usage',
            },
        ),
        migrations.CreateModel(
            name='FlowStanding',
            fields=[
                ('account', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='flow_standing', serialize=False, to='accounts.account')),
                ('flow_class', models.CharField(choices=[('standard', 'Standard'), ('insider', 'Insider'), ('restricted', 'Restricted')], default='standard', max_length=12, verbose_name='Flow class')),
                ('since', models.DateTimeField(verbose_name='since')),
                ('reason', models.CharField(max_length=500, verbose_name='reason')),
                ('changed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'Flow class',
                'verbose_name_plural': 'Flow classes',
            },
        ),
        migrations.CreateModel(
            name='PlanPrice',
            fields=[
                ('version', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='provider_price', serialize=False, to='subscriptions.planversion')),
                ('price_id', models.CharField(max_length=255, unique=True, verbose_name='price')),
                ('product_id', models.CharField(max_length=255, verbose_name='product')),
                ('created_at', models.DateTimeField(verbose_name='created')),
            ],
        ),
        migrations.CreateModel(
            name='QuotaWindow',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('5h', 'Five hours'), ('week', 'Week'), ('period', 'Billing period')], max_length=6, verbose_name='kind')),
                ('starts_at', models.DateTimeField(verbose_name='starts')),
                ('ends_at', models.DateTimeField(verbose_name='ends')),
                ('cap', models.DecimalField(decimal_places=6, max_digits=20, verbose_name='Flows allowed')),
                ('enforced', models.BooleanField(default=True, verbose_name='enforced')),
                ('used', models.DecimalField(decimal_places=6, default=0, max_digits=20, verbose_name='Flows used')),
                ('held', models.DecimalField(decimal_places=6, default=0, max_digits=20, verbose_name='Flows held')),
                ('carried', models.DecimalField(decimal_places=6, default=0, max_digits=20, verbose_name='Flows carried over')),
                ('opened_at', models.DateTimeField(verbose_name='opened')),
                ('ended_by', models.CharField(blank=True, choices=[('change', 'change of plan'), ('end', 'end of the subscription'), ('reset', 'reset by staff')], max_length=12, verbose_name='ended early by')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='quota_windows', to='accounts.account')),
                ('follows', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='followed_by', to='subscriptions.quotawindow')),
                ('period', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='parts', to='subscriptions.quotawindow')),
                ('plan_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='plan version')),
            ],
            options={
                'verbose_name': 'quota window',
                'verbose_name_plural': 'quota windows',
            },
        ),
        migrations.CreateModel(
            name='FlowHold',
            fields=[
                ('authorization_id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('extra_key', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.apikey')),
                ('extra_month', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.extrausagemonth')),
                ('five_hours', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.quotawindow')),
                ('period', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.quotawindow')),
                ('week', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.quotawindow')),
            ],
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('incomplete', 'Waiting for payment'), ('active', 'Active'), ('past_due', 'Payment overdue'), ('ended', 'Ended'), ('expired', 'Never paid'), ('duplicate', 'Second one, paid back')], default='incomplete', editable=False, max_length=10, verbose_name='status')),
                ('status_at', models.DateTimeField(verbose_name='since')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('client_key', models.CharField(help_text="Names the intent: a header or a form's token.", max_length=160)),
                ('locale', models.CharField(default='en', max_length=10, verbose_name='language')),
                ('session_id', models.CharField(blank=True, max_length=255, verbose_name='checkout')),
                ('checkout_url', models.URLField(blank=True, max_length=2000)),
                ('provider_id', models.CharField(blank=True, max_length=255, verbose_name='at the provider')),
                ('schedule_id', models.CharField(blank=True, max_length=255)),
                ('period_start', models.DateTimeField(blank=True, null=True, verbose_name='period from')),
                ('period_end', models.DateTimeField(blank=True, null=True, verbose_name='period until')),
                ('activated_at', models.DateTimeField(blank=True, null=True, verbose_name='activated')),
                ('cancel_at_period_end', models.BooleanField(default=False, verbose_name='ends with the period')),
                ('grace_until', models.DateTimeField(blank=True, null=True, verbose_name='served until')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('end_reason', models.CharField(blank=True, max_length=200, verbose_name='why it ended')),
                ('checked_at', models.DateTimeField(blank=True, null=True, verbose_name='last asked')),
                ('review_reason', models.CharField(blank=True, max_length=300, verbose_name='to be looked at')),
                ('undone_at', models.DateTimeField(blank=True, null=True, verbose_name='paid back')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='subscriptions', to='accounts.account')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('next_version', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='plan from the next period')),
                ('plan_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='plan')),
            ],
            options={
                'verbose_name': 'subscription',
                'verbose_name_plural': 'subscriptions',
            },
        ),
        migrations.AddField(
            model_name='quotawindow',
            name='subscription',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='windows', to='subscriptions.subscription'),
        ),
        migrations.CreateModel(
            name='PlanChange',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('upgrade', 'Upgrade'), ('downgrade', "Downgrade at the period's end")], max_length=10, verbose_name='kind')),
                ('status', models.CharField(choices=[('requested', 'Asked of the provider'), ('scheduled', 'From the next period'), ('done', 'In force'), ('declined', 'Payment declined'), ('withdrawn', 'Withdrawn')], default='requested', editable=False, max_length=10, verbose_name='status')),
                ('status_at', models.DateTimeField(verbose_name='since')),
                ('at', models.DateTimeField(verbose_name='proration as of')),
                ('due_minor', models.BigIntegerField(blank=True, null=True, verbose_name='shown as due')),
                ('created_at', models.DateTimeField(verbose_name='asked')),
                ('client_key', models.CharField(help_text="Names the intent: a header or a form's token.", max_length=160)),
                ('schedule_id', models.CharField(blank=True, max_length=255)),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='plan_changes', to='accounts.account')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('from_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='from')),
                ('to_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='to')),
                ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='changes', to='subscriptions.subscription')),
            ],
            options={
                'verbose_name': 'change of plan',
                'verbose_name_plural': 'changes of plan',
            },
        ),
        migrations.CreateModel(
            name='Invoice',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('provider_id', models.CharField(max_length=255, unique=True, verbose_name='at the provider')),
                ('number', models.CharField(blank=True, max_length=100, verbose_name='number')),
                ('kind', models.CharField(choices=[('subscribe', 'Subscription'), ('renewal', 'Renewal'), ('change', 'Change of plan'), ('other', 'Other')], max_length=10, verbose_name='kind')),
                ('status', models.CharField(choices=[('open', 'To be paid'), ('paid', 'Paid'), ('failed', 'Not paid'), ('void', 'Void')], default='open', editable=False, max_length=6, verbose_name='status')),
                ('status_at', models.DateTimeField(verbose_name='since')),
                ('at', models.DateTimeField(verbose_name='date')),
                ('amount_minor', models.BigIntegerField(verbose_name='amount')),
                ('tax_minor', models.BigIntegerField(default=0, verbose_name='tax')),
                ('paid_minor', models.BigIntegerField(default=0, verbose_name='paid')),
                ('paid_usd', models.DecimalField(decimal_places=10, default=0, max_digits=24, verbose_name='paid')),
                ('currency', models.CharField(max_length=3, verbose_name='currency')),
                ('period_start', models.DateTimeField(blank=True, null=True, verbose_name='period from')),
                ('period_end', models.DateTimeField(blank=True, null=True, verbose_name='period until')),
                ('paid_at', models.DateTimeField(blank=True, null=True, verbose_name='paid')),
                ('payment_intent_id', models.CharField(blank=True, max_length=255, verbose_name='payment')),
                ('charge_id', models.CharField(blank=True, max_length=255, verbose_name='charge')),
                ('card_brand', models.CharField(blank=True, max_length=40)),
                ('card_last_four', models.CharField(blank=True, max_length=4)),
                ('failure', models.CharField(blank=True, max_length=40, verbose_name='why it was not paid')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='tries')),
                ('next_attempt_at', models.DateTimeField(blank=True, null=True, verbose_name='next try')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='subscription_invoices', to='accounts.account')),
                ('plan_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='plan')),
                ('subscription', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='invoices', to='subscriptions.subscription')),
            ],
            options={
                'verbose_name': 'invoice',
                'verbose_name_plural': 'invoices',
            },
        ),
        migrations.CreateModel(
            name='ExtraUsage',
            fields=[
                ('account', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='extra_usage', serialize=False, to='accounts.account')),
                ('enabled', models.BooleanField(default=False, verbose_name='on')),
                ('monthly_cap', models.DecimalField(blank=True, decimal_places=10, max_digits=24, null=True, verbose_name='at most a month')),
                ('agreed_at', models.DateTimeField(blank=True, null=True, verbose_name='agreed')),
                ('agreed_text', models.TextField(blank=True, verbose_name='what was agreed to')),
                ('changed_at', models.DateTimeField(verbose_name='changed')),
                ('agreed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='agreed by')),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.apikey', verbose_name='pay-as-you-go key')),
            ],
            options={
                'verbose_name': 'Extra Usage',
                'verbose_name_plural': 'Extra Usage',
                'constraints': [models.CheckConstraint(condition=models.Q(('enabled', False), models.Q(('agreed_at__isnull', False), ('api_key__isnull', False), ('monthly_cap__gt', 0), models.Q(('agreed_text', ''), _negated=True)), _connector='OR'), name='extra_usage_agreed')],
            },
        ),
        migrations.AddConstraint(
            model_name='extrausagemonth',
            constraint=models.UniqueConstraint(fields=('account', 'month'), name='extra_usage_month_once'),
        ),
        migrations.AddConstraint(
            model_name='extrausagemonth',
            constraint=models.CheckConstraint(condition=models.Q(('held__gte', 0), ('spent__gte', 0)), name='extra_usage_month_amounts'),
        ),
        migrations.AddConstraint(
            model_name='flowstanding',
            constraint=models.CheckConstraint(condition=models.Q(('flow_class__in', ['standard', 'insider', 'restricted'])), name='flow_standing_class'),
        ),
        migrations.AddConstraint(
            model_name='planversion',
            constraint=models.UniqueConstraint(fields=('plan', 'number'), name='plan_version_number'),
        ),
        migrations.AddConstraint(
            model_name='planversion',
            constraint=models.UniqueConstraint(fields=('plan', 'effective_from'), name='plan_version_once'),
        ),
        migrations.AddConstraint(
            model_name='planversion',
            constraint=models.CheckConstraint(condition=models.Q(('flows_5h__gt', 0), ('flows_period__gt', 0), ('flows_week__gt', 0), ('price_usd__gte', 0), ('rpm__gt', 0)), name='plan_version_amounts'),
        ),
        migrations.AddConstraint(
            model_name='planversion',
            constraint=models.CheckConstraint(condition=models.Q(('anchor_policy__in', ['first_request', 'grid'])), name='plan_version_anchor'),
        ),
        migrations.AddIndex(
            model_name='flowhold',
            index=models.Index(condition=models.Q(('period__isnull', False)), fields=['period'], name='flow_hold_period'),
        ),
        migrations.AddIndex(
            model_name='flowhold',
            index=models.Index(condition=models.Q(('extra_month__isnull', False)), fields=['extra_month'], name='flow_hold_extra'),
        ),
        migrations.AddConstraint(
            model_name='flowhold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('extra_key', None), ('extra_month', None), ('five_hours__isnull', False), ('period__isnull', False), ('week__isnull', False)), models.Q(('extra_key__isnull', False), ('extra_month__isnull', False), ('five_hours', None), ('period', None), ('week', None)), _connector='OR'), name='flow_hold_one_funding'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(fields=['account', '-created_at'], name='subscription_account'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('status__in', ['active', 'past_due'])), fields=['period_end'], name='subscription_due'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('status', 'incomplete'), models.Q(('status', 'duplicate'), ('undone_at', None)), _connector='OR'), fields=['created_at'], name='subscription_open'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ['active', 'past_due'])), fields=('account',), name='subscription_in_force'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('provider_id', ''), _negated=True), fields=('provider_id',), name='subscription_at_provider'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('session_id', ''), _negated=True), fields=('session_id',), name='subscription_session'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(fields=('account', 'client_key'), name='subscription_intent'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['incomplete', 'active', 'past_due', 'ended', 'expired', 'duplicate'])), name='subscription_status'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status__in', ['active', 'past_due']), _negated=True), models.Q(('activated_at__isnull', False), ('period_end__isnull', False), ('period_start__isnull', False), models.Q(('provider_id', ''), _negated=True)), _connector='OR'), name='subscription_has_period'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('status', 'ended')), models.Q(models.Q(('status', 'ended'), _negated=True), ('ended_at', None)), _connector='OR'), name='subscription_ended'),
        ),
        migrations.AddIndex(
            model_name='quotawindow',
            index=models.Index(fields=['account', 'kind', 'ends_at'], name='quota_window_account'),
        ),
        migrations.AddIndex(
            model_name='quotawindow',
            index=models.Index(condition=models.Q(('follows__isnull', False)), fields=['follows'], name='quota_window_follows'),
        ),
        migrations.AddConstraint(
            model_name='quotawindow',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['5h', 'week', 'period'])), name='quota_window_kind'),
        ),
        migrations.AddConstraint(
            model_name='quotawindow',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gte', models.F('starts_at'))), name='quota_window_span'),
        ),
        migrations.AddConstraint(
            model_name='quotawindow',
            constraint=models.CheckConstraint(condition=models.Q(('cap__gt', 0), ('carried__gte', 0), ('held__gte', 0), ('used__gte', 0)), name='quota_window_amounts'),
        ),
        migrations.AddConstraint(
            model_name='quotawindow',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'period'), ('period', None)), models.Q(models.Q(('kind', 'period'), _negated=True), ('period__isnull', False)), _connector='OR'), name='quota_window_period'),
        ),
        migrations.AddConstraint(
            model_name='quotawindow',
            constraint=models.CheckConstraint(condition=models.Q(('ended_by__in', ['', 'change', 'end', 'reset'])), name='quota_window_ended_by'),
        ),
        migrations.AddConstraint(
            model_name='planchange',
            constraint=models.UniqueConstraint(fields=('account', 'client_key'), name='plan_change_intent'),
        ),
        migrations.AddConstraint(
            model_name='planchange',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ['requested', 'scheduled'])), fields=('subscription',), name='plan_change_one'),
        ),
        migrations.AddConstraint(
            model_name='planchange',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['upgrade', 'downgrade'])), name='plan_change_kind'),
        ),
        migrations.AddConstraint(
            model_name='planchange',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['requested', 'scheduled', 'done', 'declined', 'withdrawn'])), name='plan_change_status'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(fields=['account', '-at', '-id'], name='sub_invoice_account'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(fields=['subscription', '-at'], name='sub_invoice_subscription'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('payment_intent_id', ''), _negated=True), fields=['payment_intent_id'], name='sub_invoice_intent'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['subscribe', 'renewal', 'change', 'other'])), name='sub_invoice_kind'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['open', 'paid', 'failed', 'void'])), name='sub_invoice_status'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('paid_at__isnull', False), ('status', 'paid')), models.Q(models.Q(('status', 'paid'), _negated=True), ('paid_at', None), ('paid_minor', 0)), _connector='OR'), name='sub_invoice_paid'),
        ),
        migrations.RunSQL(
            [(SQL / f"{name}.sql").read_text() for name in (*FUNCTIONS, "guards")],
            (SQL / "guards_off.sql").read_text(),
        ),
    ]
