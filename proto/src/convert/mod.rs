//! Where wire becomes core types and back: the only place that knows both.
