"""Plans are given back: the request with its quote, the terms of refunds as dated rows that are never changed, and a refund
that is of an invoice."""

import decimal

import config.ids
import django.db.models.deletion
import refunds.models_policy
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('billing', '0026_flow_funding'),
        ('refunds', '0001_refunds'),
        ('subscriptions', '0004_giving_back'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PlanRefund',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.CharField(editable=False, max_length=40, unique=True, verbose_name='refund')),
                ('created_at', models.DateTimeField(verbose_name='submitted')),
                ('reason', models.CharField(blank=True, max_length=500, verbose_name='reason')),
                ('client_key', models.CharField(help_text="Names the intent: a header or a form's token.", max_length=160)),
                ('status', models.CharField(choices=[('requested', 'Waits for a decision'), ('settling', 'Calls are settled'), ('submitted', 'At the provider'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], editable=False, max_length=10, verbose_name='status')),
                ('status_at', models.DateTimeField(verbose_name='since')),
                ('quoted', models.JSONField(help_text='The lines that the customer agreed to.', verbose_name='quote')),
                ('quoted_at', models.DateTimeField(verbose_name='quoted')),
                ('settled', models.JSONField(blank=True, default=dict, verbose_name='refunded lines')),
                ('final_minor', models.BigIntegerField(help_text="In cents; the quote's until calls are settled.", verbose_name='goes back')),
                ('fee_minor', models.BigIntegerField(default=0, verbose_name='fee')),
                ('sent_minor', models.BigIntegerField(default=0, help_text='In cents: what has gone.', verbose_name='sent')),
                ('approval', models.CharField(blank=True, choices=[('restricted', 'Flow class restricted')], max_length=20, verbose_name='decided by staff because')),
                ('decided_at', models.DateTimeField(blank=True, null=True, verbose_name='decided')),
                ('answer', models.CharField(blank=True, max_length=500, verbose_name='reason of the decision')),
                ('settle_by', models.DateTimeField(blank=True, null=True, verbose_name='calls are waited for until')),
                ('submitted_at', models.DateTimeField(blank=True, null=True, verbose_name='sent to the provider')),
                ('succeeded_at', models.DateTimeField(blank=True, null=True, verbose_name='succeeded')),
                ('renewed_before', models.BooleanField(default=False, verbose_name='renewed before')),
                ('renewal_off_at', models.DateTimeField(blank=True, null=True, verbose_name='renewal switched off')),
                ('renewal_on_at', models.DateTimeField(blank=True, null=True, verbose_name='renewal switched on again')),
                ('plan_ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended at the provider')),
                ('failure_reason', models.CharField(blank=True, max_length=300, verbose_name='why it did not succeed')),
                ('flagged', models.BooleanField(default=False, help_text='A person should look at it.', verbose_name='flagged')),
                ('flag_reason', models.CharField(blank=True, max_length=300, verbose_name='why it is flagged')),
                ('check_at', models.DateTimeField(blank=True, help_text='When the sweep takes it next.', null=True)),
                ('checks', models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'plan refund',
                'verbose_name_plural': 'plan refunds',
            },
        ),
        migrations.CreateModel(
            name='RefundPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('effective_from', models.DateTimeField(unique=True, verbose_name='in force from')),
                ('window_hours', models.PositiveSmallIntegerField(default=24, help_text='From the first payment of a plan, or of an upgrade. Inclusive.', verbose_name='hours to ask in')),
                ('fee_rate', models.DecimalField(decimal_places=6, default=decimal.Decimal('0.05'), help_text='A share: 0.05 is 5 %.', max_digits=7, verbose_name='fee')),
                ('fee_base', models.CharField(choices=[('difference', 'What is left after usage and earlier refunds'), ('paid', 'All that was paid')], default='difference', max_length=10, verbose_name='fee of')),
                ('on_renewal', models.BooleanField(default=False, help_text='Whether a renewal opens the hours again.', verbose_name='renewals can be refunded')),
                ('refund_tax', models.BooleanField(default=True, help_text='In proportion to what goes back of the price.', verbose_name='tax goes back')),
                ('settle_minutes', models.PositiveSmallIntegerField(default=15, help_text='After that a call counts with what it holds.', verbose_name='minutes to wait for open calls')),
                ('quote_minutes', models.PositiveSmallIntegerField(default=15, verbose_name='minutes for which a quote holds')),
                ('days_by_method', models.JSONField(default=refunds.models_policy.method_limits, verbose_name='days by payment method')),
                ('created_at', models.DateTimeField(verbose_name='published')),
                ('note', models.CharField(blank=True, max_length=500, verbose_name='reason')),
            ],
            options={
                'verbose_name': 'refund policy',
                'verbose_name_plural': 'refund policies',
            },
        ),
        migrations.RemoveConstraint(
            model_name='refund',
            name='refund_kind',
        ),
        migrations.AddField(
            model_name='refund',
            name='invoice',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='subscriptions.invoice', verbose_name='invoice'),
        ),
        migrations.AlterField(
            model_name='refund',
            name='kind',
            field=models.CharField(choices=[('top_up', 'Top-up'), ('subscription', 'Plan')], default='top_up', max_length=12, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='refund',
            name='top_up',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='billing.topup', verbose_name='top-up'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='account',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='plan_refunds', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='decided_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='decided by'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='first_approved_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='first approval'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='plan_version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='subscriptions.planversion', verbose_name='plan'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='requested_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='requested by'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='subscription',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='subscriptions.subscription'),
        ),
        migrations.AddField(
            model_name='refund',
            name='plan_refund',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='payments', to='refunds.planrefund', verbose_name='plan refund'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('plan_refund', None)), fields=['account', '-id'], name='refund_listed'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('invoice', None), ('kind', 'top_up'), ('plan_refund', None), ('top_up__isnull', False)), models.Q(('invoice__isnull', False), ('kind', 'subscription'), ('top_up', None)), _connector='OR'), name='refund_kind'),
        ),
        migrations.AddField(
            model_name='refundpolicy',
            name='created_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='published by'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='policy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='refunds.refundpolicy', verbose_name='policy'),
        ),
        migrations.AddConstraint(
            model_name='refundpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('fee_rate__gte', 0), ('fee_rate__lt', 1)), name='refund_policy_fee'),
        ),
        migrations.AddConstraint(
            model_name='refundpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('fee_base__in', ['difference', 'paid'])), name='refund_policy_fee_base'),
        ),
        migrations.AddConstraint(
            model_name='refundpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('quote_minutes__gt', 0), ('window_hours__gt', 0)), name='refund_policy_times'),
        ),
        migrations.AddIndex(
            model_name='planrefund',
            index=models.Index(fields=['account', '-id'], name='plan_refund_account'),
        ),
        migrations.AddIndex(
            model_name='planrefund',
            index=models.Index(fields=['subscription', '-id'], name='plan_refund_subscription'),
        ),
        migrations.AddIndex(
            model_name='planrefund',
            index=models.Index(condition=models.Q(('check_at__isnull', False)), fields=['check_at'], name='plan_refund_check'),
        ),
        migrations.AddIndex(
            model_name='planrefund',
            index=models.Index(fields=['status', '-id'], name='plan_refund_status_newest'),
        ),
        migrations.AddIndex(
            model_name='planrefund',
            index=models.Index(condition=models.Q(('flagged', True)), fields=['-id'], name='plan_refund_flagged'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.UniqueConstraint(fields=('account', 'client_key'), name='plan_refund_client_key'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ['requested', 'settling', 'submitted', 'succeeded'])), fields=('subscription',), name='plan_refund_one'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['requested', 'settling', 'submitted', 'succeeded', 'failed', 'cancelled'])), name='plan_refund_status'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.CheckConstraint(condition=models.Q(('fee_minor__gte', 0), ('final_minor__gt', 0), ('sent_minor__gte', 0), ('sent_minor__lte', models.F('final_minor'))), name='plan_refund_amounts'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.CheckConstraint(condition=models.Q(('submitted_at__isnull', False), models.Q(('status__in', ['submitted', 'succeeded', 'failed']), _negated=True), _connector='OR'), name='plan_refund_submitted'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'succeeded'), _negated=True), models.Q(('sent_minor', models.F('final_minor')), ('succeeded_at__isnull', False)), _connector='OR'), name='plan_refund_succeeded'),
        ),
        migrations.RunSQL(
            "CREATE TRIGGER refund_policy_append_only BEFORE UPDATE OR DELETE ON refunds_refundpolicy "
            "FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change()",
            "DROP TRIGGER refund_policy_append_only ON refunds_refundpolicy",
        ),
    ]
