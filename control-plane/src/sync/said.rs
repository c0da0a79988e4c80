//! What a node says of its profile, within bounds: it is kept in memory and in the store for each node.

use prost::Message as _;
use weir_proto::control::v1 as pb;

/// Most bytes of it.
const STATE_BYTES_MAX: usize = 64 << 10;

/// As much of it as is kept: lists that are too long are cut at their ends, the longest first.
pub(super) fn within_bounds(mut state: pb::ProfileState) -> pb::ProfileState {
    while state.encoded_len() > STATE_BYTES_MAX {
        let lens = [
            state.errors.len(),
            state.unsupported.len(),
            state.pending_restart.len(),
            state.quarantined.len(),
        ];
        match lens.iter().copied().max().unwrap_or_default() {
            0 => {
                // Hashes and an origin do not take that much.
                return pb::ProfileState {
                    last_attempt: state.last_attempt,
                    ..pb::ProfileState::default()
                };
            }
            longest => {
                let most = longest / 2;
                state.errors.truncate(most);
                state.unsupported.truncate(most);
                state.pending_restart.truncate(most);
                state.quarantined.truncate(most);
            }
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use weir_proto::tuning::v1::FieldError;

    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_does_not_is_cut_at_its_end() {
        let error = |n: usize| FieldError {
            path: format!("knob-{n}"),
            message: "x".repeat(200),
            ..FieldError::default()
        };
        let state = |count: usize| pb::ProfileState {
            offered_hash: vec![1; 16],
            errors: (0..count).map(error).collect(),
            pending_restart: vec!["ingress.listen".to_owned()],
            ..pb::ProfileState::default()
        };
        assert_eq!(within_bounds(state(100)), state(100));
        let cut = within_bounds(state(10_000));
        assert!(cut.encoded_len() <= STATE_BYTES_MAX);
        assert!(cut.errors.len() > 100);
        assert_eq!(cut.errors[..100], state(100).errors);
        assert_eq!(cut.pending_restart, state(1).pending_restart);
        let huge = pb::ProfileState {
            origin: "x".repeat(1 << 20),
            last_attempt: pb::ApplyStatus::Applied as i32,
            ..state(5)
        };
        let cut = within_bounds(huge);
        assert!(cut.encoded_len() <= 64);
        assert_eq!(cut.last_attempt(), pb::ApplyStatus::Applied);
    }
}
