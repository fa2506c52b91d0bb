
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('billing', '0026_flow_funding'),
        ('refunds', '0002_plans_and_policies'),
        ('subscriptions', '0004_giving_back'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='refund',
            name='asked_minor',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='asked for'),
        ),
        migrations.AddField(
            model_name='refund',
            name='asked_usd',
            field=models.DecimalField(blank=True, decimal_places=10, help_text='What the customer asked for, where staff approved a part of it.', max_digits=24, null=True, verbose_name='asked for'),
        ),
        migrations.AddField(
            model_name='refund',
            name='category',
            field=models.CharField(blank=True, choices=[('needs_not_met', 'The platform cannot meet the need'), ('mistake', 'Paid by mistake, or into the wrong account'), ('third_party', 'Does not work with a third-party tool'), ('other', 'Something else')], max_length=16, verbose_name='kind of reason'),
        ),
        migrations.AddField(
            model_name='refund',
            name='confirmed_at',
            field=models.DateTimeField(blank=True, help_text="By the company's finance: that the money goes back the way it was paid (F022).", null=True, verbose_name='payment method confirmed'),
        ),
        migrations.AddField(
            model_name='refund',
            name='confirmed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='payment method confirmed by'),
        ),
        migrations.AddField(
            model_name='refund',
            name='part_reason',
            field=models.CharField(blank=True, max_length=500, verbose_name='why only a part'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(fields=['kind', '-id'], name='refund_kind_newest'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('category__in', ['', 'needs_not_met', 'mistake', 'third_party', 'other'])), name='refund_category'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('asked_minor', None), ('asked_usd', None), ('part_reason', '')), models.Q(('asked_minor__gte', models.F('requested_minor')), ('asked_usd__gt', models.F('requested_usd')), ('kind', 'top_up'), models.Q(('part_reason', ''), _negated=True)), _connector='OR'), name='refund_part'),
        ),
    ]
