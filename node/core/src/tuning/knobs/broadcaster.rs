//! Messages to everyone.

use super::declare::*;

knobs! {
    BATCH_MESSAGES_MAX = "broadcaster.batch_messages_max", Kind::Count(1, 1000),
        Literal::Count(10), ApplyClass::Hot,
        "Messages of one frame.";
    BATCH_INTERVAL = "broadcaster.batch_interval", Kind::Duration(millis(1), secs(10)),
        Literal::Duration(millis(100)), ApplyClass::Hot,
        "How long a message may wait for others.";
    IMMEDIATE = "broadcaster.immediate", Kind::Flag,
        Literal::Flag(true), ApplyClass::Hot,
        "Sends critical messages at once.";
    CLIENT_QUEUE_BYTES_MAX = "broadcaster.client_queue_bytes_max", Kind::Bytes(1024, 1_073_741_824),
        Literal::Bytes(65_536), ApplyClass::NewConnections,
        "Bytes that wait for one slow subscriber.";
    HISTORY_MESSAGES_MAX = "broadcaster.history_messages_max", Kind::Count(0, 10_000_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Messages of a topic kept for who comes back.";
}
