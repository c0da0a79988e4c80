//! Every reason, for those who count them.

use super::storage::NotStored;

impl NotStored {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::Method,
        Self::Head,
        Self::Status,
        Self::Partial,
        Self::NoStore,
        Self::RequestNoStore,
        Self::Private,
        Self::Authorization,
        Self::SetCookie,
        Self::Cookie,
        Self::VaryStar,
        Self::VaryLimit,
        Self::NoLifetime,
        Self::NeverUsable,
        Self::TooLarge,
    ];
}
