"""What is reached by HTTP: webhooks come in here. The process that receives them loads neither Polars nor the configuration."""
