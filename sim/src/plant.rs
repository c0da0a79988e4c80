//! Bugs that are planted on request, to prove that the checks find them.

use clap::ValueEnum;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plant {
    /// Nodes never take a backend out for failed checks.
    NoUnhealthy,
    /// Nodes never bring a backend back.
    NoRecovery,
    /// Nodes take a backend out at its first failed check.
    Hasty,
    /// Operator calls have no deadline.
    NoDeadline,
    /// Operator calls have only the deadline in their metadata. tonic starts it when the channel is
    /// connected, so a call that has to reconnect first takes longer.
    DeadlineInMetadata,
    /// The operator believes that a change reached the second node.
    LostChange,
    /// The log shows something that differs from process to process.
    ProcessId,
    /// A node acknowledges profiles and never brings them into force.
    HollowAck,
    /// Instances follow the store no further once they lost it.
    StaleReplica,
    /// Instances miss some of what happens in the store.
    LostEvents,
    /// Some profiles are acknowledged and never written.
    ForgottenWrite,
    /// A leader's writes do not ask whether it still leads.
    NoFence,
    /// What was fetched answers, whatever was purged since the fetch began.
    InsertWithoutCompare,
    /// A copy of another tier's carries the time of its copying, not that of its fetch.
    CopyTime,
    /// A node acknowledges purges before they are in force.
    EarlyAck,
    /// Whoever becomes the owner of a topic goes on with its epoch, whatever it has.
    GoOnAnyway,
}
