//! Classes and positions of messages.

use weir_core::broadcast::{Class, Content, Epoch, Position};

use crate::node::v1 as pb;

/// A class for the wire.
pub fn encode_class(class: Class) -> pb::MessageClass {
    match class {
        Class::Critical => pb::MessageClass::Critical,
        Class::Stream => pb::MessageClass::Stream,
        Class::Latest => pb::MessageClass::Latest,
        Class::Ephemeral => pb::MessageClass::Ephemeral,
    }
}

/// A class from the wire; `None` for one that a later version has.
pub fn decode_class(wire: i32) -> Option<Class> {
    Some(match pb::MessageClass::try_from(wire).ok()? {
        pb::MessageClass::Critical => Class::Critical,
        pb::MessageClass::Unspecified | pb::MessageClass::Stream => Class::Stream,
        pb::MessageClass::Latest => Class::Latest,
        pb::MessageClass::Ephemeral => Class::Ephemeral,
    })
}

/// A content for the wire.
pub fn encode_content(content: Content) -> pb::MessageContent {
    match content {
        Content::Binary => pb::MessageContent::Binary,
        Content::Text => pb::MessageContent::Text,
        Content::Json => pb::MessageContent::Json,
    }
}

/// A content from the wire; `None` for one that a later version has.
pub fn decode_content(wire: i32) -> Option<Content> {
    Some(match pb::MessageContent::try_from(wire).ok()? {
        pb::MessageContent::Unspecified | pb::MessageContent::Binary => Content::Binary,
        pb::MessageContent::Text => Content::Text,
        pb::MessageContent::Json => Content::Json,
    })
}

/// A position for the wire.
pub fn encode_position(position: Position) -> pb::MessagePosition {
    pb::MessagePosition {
        epoch: position.epoch.0,
        offset: position.offset,
    }
}

/// A position from the wire.
pub fn decode_position(wire: pb::MessagePosition) -> Position {
    Position {
        epoch: Epoch(wire.epoch),
        offset: wire.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_contents_come_back_and_unknown_ones_are_none() {
        for class in Class::ALL {
            assert_eq!(decode_class(encode_class(class).into()), Some(class));
        }
        for content in [Content::Binary, Content::Text, Content::Json] {
            assert_eq!(
                decode_content(encode_content(content).into()),
                Some(content)
            );
        }
        assert_eq!(
            (decode_class(0), decode_class(99)),
            (Some(Class::Stream), None)
        );
        assert_eq!(
            (decode_content(0), decode_content(99)),
            (Some(Content::Binary), None)
        );
    }
}
