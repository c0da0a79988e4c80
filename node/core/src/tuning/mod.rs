//! Tuning profiles: every knob of a node, declared once, and how layers of settings become one profile.
//!
//! [`knobs`] declares each knob: path, kind with bounds, default, apply class and meaning. Everything else follows
//! from the declarations: validation, the help of the command line, the documentation and what `effective` shows.
//! A [`Profile`] is sparse: it names only what it sets. [`merge`] lays profiles over one another, knob by knob:
//! defaults < fleet < groups by priority < node < override < override of a node.

mod edits;
mod knob;
pub mod knobs;
mod layers;
mod presets;
mod problem;
mod profile;
mod rules;
mod scope;
#[cfg(test)]
mod tests;
mod value;

pub use edits::{Edit, apply_edits};
pub use knob::{ApplyClass, Kind, Knob, Literal};
pub use knobs::{all, find};
pub use layers::{Given, Layer, Merged, merge};
pub use presets::{PRESETS, Preset, preset};
pub use problem::{Code, Problem};
pub use profile::{Change, Profile, SETTINGS_MAX, diff};
pub use rules::check_rules;
pub use scope::{InvalidScope, NAME_BOUND, NAME_CHARS_MAX, SCOPE_BOUND, Scope, is_name};
pub use value::{Ratio, Value};
