package sandbox

// WebhookClient is what sends events.
var WebhookClient = webhookClient
