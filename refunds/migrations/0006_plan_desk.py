"""A plan refund says which credit, or which proposal of it, the money became that a bank returned."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0027_other_disputes'),
        ('refunds', '0005_publish_policies'),
    ]

    operations = [
        migrations.AddField(
            model_name='planrefund',
            name='credit_grant',
            field=models.OneToOneField(blank=True, help_text='Money that a bank returned after the plan had ended, given by one person.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.creditgrant', verbose_name='given as credit'),
        ),
        migrations.AddField(
            model_name='planrefund',
            name='credit_proposal',
            field=models.ForeignKey(blank=True, db_index=False, help_text='To give the returned money as credit; waits for, or had, a second person.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.creditproposal', verbose_name='credit proposal'),
        ),
        migrations.AddConstraint(
            model_name='planrefund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('credit_grant', None), ('credit_proposal', None)), models.Q(('status', 'failed'), ('succeeded_at__isnull', False)), _connector='OR'), name='plan_refund_credit'),
        ),
    ]
