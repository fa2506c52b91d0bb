"""Conversations with their billing mode, and an index for the mails of Extra Usage."""

import config.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('subscriptions', '0001_plans_windows_subscriptions'),
    ]

    operations = [
        migrations.CreateModel(
            name='Conversation',
            fields=[
                ('id', models.UUIDField(default=config.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('external_id', models.CharField(help_text='As the app names it.', max_length=200, verbose_name='conversation')),
                ('billing_mode', models.CharField(choices=[('subscription', 'Subscription'), ('payg', 'Pay as you go')], max_length=12, verbose_name='paid by')),
                ('updated_at', models.DateTimeField(verbose_name='changed')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='conversations', to='accounts.account')),
            ],
            options={
                'verbose_name': 'conversation',
                'verbose_name_plural': 'conversations',
                'constraints': [
                    models.UniqueConstraint(fields=('account', 'external_id'), name='conversation_once'),
                    models.CheckConstraint(condition=models.Q(('billing_mode__in', ['subscription', 'payg']), models.Q(('external_id', ''), _negated=True)), name='conversation_mode'),
                ],
            },
        ),
        migrations.AddIndex(
            model_name='extrausagemonth',
            index=models.Index(condition=models.Q(('told__lt', 100)), fields=['month'], name='extra_usage_month_watched'),
        ),
    ]
