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
        "A message that comes alone goes at once; else each waits for a full frame or the interval.";
    CLIENT_QUEUE_BYTES_MAX = "broadcaster.client_queue_bytes_max", Kind::Bytes(1024, 1_073_741_824),
        Literal::Bytes(1_048_576), ApplyClass::Hot,
        "Bytes that wait for one slow subscriber.";
    CLIENT_QUEUE_AGE_MAX = "broadcaster.client_queue_age_max", Kind::Duration(millis(100), secs(600)),
        Literal::Duration(secs(10)), ApplyClass::Hot,
        "How long a message may wait for one slow subscriber.";
    HISTORY_MESSAGES_MAX = "broadcaster.history_messages_max", Kind::Count(0, 10_000),
        Literal::Count(1000), ApplyClass::Hot,
        "Messages of a topic kept for who comes back.";
    HISTORY_AGE_MAX = "broadcaster.history_age_max", Kind::Duration(millis(1), secs(86_400)),
        Literal::Duration(secs(300)), ApplyClass::Hot,
        "How long they are kept.";
    RETAINED_BYTES_MAX = "broadcaster.retained_bytes_max", Kind::Bytes(1_048_576, 1_099_511_627_776),
        Literal::Bytes(268_435_456), ApplyClass::Hot,
        "Memory of everything that is kept or waits, each counted once.";
    MESSAGE_BYTES_MAX = "broadcaster.message_bytes_max", Kind::Bytes(1, 67_108_864),
        Literal::Bytes(1_048_576), ApplyClass::Hot,
        "Bytes of one message.";
    CONNECTIONS_MAX = "broadcaster.connections_max", Kind::Count(1, 10_000_000),
        Literal::Count(100_000), ApplyClass::NewConnections,
        "Subscribers of the node at once.";
    HANDSHAKES_PER_SECOND_MAX = "broadcaster.handshakes_per_second_max", Kind::Count(1, 1_000_000),
        Literal::Count(50), ApplyClass::NewConnections,
        "Subscribers that one client address may begin within a second.";
    PUBLISH_PER_SECOND_MAX = "broadcaster.publish_per_second_max", Kind::Count(1, 10_000_000),
        Literal::Count(20_000), ApplyClass::Hot,
        "Messages that one token, or one client address without a token, may publish within a second.";
    DRAIN_WINDOW = "broadcaster.drain_window", Kind::Duration(millis(0), secs(3600)),
        Literal::Duration(secs(10)), ApplyClass::Hot,
        "Over how long subscribers come back that are sent to another node.";
    DEFLATE_BYTES_MIN = "broadcaster.deflate_bytes_min", Kind::Bytes(0, 67_108_864),
        Literal::Bytes(0), ApplyClass::NewConnections,
        "Frames of at least so many bytes are compressed for WebSockets that offer permessage-deflate; 0 for none.";
}
