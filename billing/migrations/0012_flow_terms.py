"""Flow rates and the models' Flow factors: dated, append-only rows of the rate card (C16, F061-F064)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0011_stored_sheet'),
    ]

    operations = [
        migrations.CreateModel(
            name='FlowRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('flow_class', models.CharField(choices=[('standard', 'Standard'), ('insider', 'Insider'), ('restricted', 'Restricted')], default='standard', max_length=12, verbose_name='Flow class')),
                ('flows_per_usd', models.DecimalField(decimal_places=10, max_digits=20, verbose_name='Flows per USD')),
                ('call_overhead_flows', models.DecimalField(decimal_places=6, default=0, max_digits=20, verbose_name='Flows per call')),
                ('effective_from', models.DateTimeField(verbose_name='from')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note')),
            ],
            options={
                'verbose_name': 'Flow rate',
                'verbose_name_plural': 'Flow rates',
                'ordering': ('flow_class', '-effective_from'),
                'constraints': [models.UniqueConstraint(fields=('flow_class', 'effective_from'), name='flow_rate_once'), models.CheckConstraint(condition=models.Q(('flow_class__in', ['standard', 'insider', 'restricted'])), name='flow_rate_class'), models.CheckConstraint(condition=models.Q(('call_overhead_flows__gte', 0), ('flows_per_usd__gt', 0)), name='flow_rate_amounts')],
            },
        ),
        migrations.CreateModel(
            name='FlowFactor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('plan', models.CharField(blank=True, choices=[('', 'Every plan'), ('free', 'Free'), ('pro', 'Pro'), ('max', 'Max'), ('ultra', 'Ultra')], default='', max_length=8, verbose_name='plan')),
                ('factor', models.DecimalField(decimal_places=6, max_digits=12, verbose_name='factor')),
                ('effective_from', models.DateTimeField(verbose_name='from')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('model', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='flow_factors', to='billing.model', verbose_name='model')),
            ],
            options={
                'verbose_name': 'Flow factor',
                'verbose_name_plural': 'Flow factors',
                'ordering': ('model_id', 'plan', '-effective_from'),
                'constraints': [models.UniqueConstraint(fields=('plan', 'model', 'effective_from'), name='flow_factor_once'), models.CheckConstraint(condition=models.Q(('plan__in', ['', 'free', 'pro', 'max', 'ultra'])), name='flow_factor_plan'), models.CheckConstraint(condition=models.Q(('factor__gt', 0)), name='flow_factor_positive')],
            },
        ),
        migrations.RunSQL(
            [
                "CREATE TRIGGER flow_rate_append_only BEFORE UPDATE OR DELETE ON billing_flowrate"
                " FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change()",
                "CREATE TRIGGER flow_factor_append_only BEFORE UPDATE OR DELETE ON billing_flowfactor"
                " FOR EACH STATEMENT EXECUTE FUNCTION mh_refuse_change()",
            ],
            [
                "DROP TRIGGER flow_rate_append_only ON billing_flowrate",
                "DROP TRIGGER flow_factor_append_only ON billing_flowfactor",
            ],
        ),
    ]
