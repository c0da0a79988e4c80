//! One field of a cron expression.
