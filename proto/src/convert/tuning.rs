//! Tuning profiles, knobs and what is wrong with them.

use std::time::Duration;

use weir_core::tuning::{ApplyClass, Code, Knob, Problem, Profile, Ratio, Value, find};

use crate::tuning::v1 as pb;

/// A profile from the wire, and what of it could not be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// What this version knows and finds sound.
    pub profile: Profile,
    /// Knobs that this version does not know.
    pub unknown: Vec<Problem>,
    /// Values that this version does not allow.
    pub problems: Vec<Problem>,
}

/// Reads a profile.
pub fn decode_profile(wire: &pb::Profile) -> Decoded {
    let mut decoded = Decoded::default();
    for setting in &wire.settings {
        let kind = setting.value.as_ref().and_then(|value| value.kind.as_ref());
        let value = kind.and_then(value_of);
        match (find(&setting.path), value) {
            (None, value) => {
                let shown = value.map_or_else(String::new, |value| value.to_string());
                let message = "is set for a knob that this version does not know";
                let problem = Problem::new(&setting.path, Code::Unsupported, message, shown);
                decoded.unknown.push(problem);
            }
            (Some(knob), None) => {
                let problem = Problem::new(knob.path, Code::Type, "has no value", "");
                decoded.problems.push(problem.bounded(knob.bound()));
            }
            (Some(knob), Some(value)) => {
                if let Err(problem) = decoded.profile.set(knob, value) {
                    decoded.problems.push(problem);
                }
            }
        }
    }
    decoded
}

fn value_of(kind: &pb::value::Kind) -> Option<Value> {
    use pb::value::Kind;
    Some(match kind {
        Kind::DurationMs(ms) => Value::Duration(Duration::from_millis(*ms)),
        Kind::Bytes(bytes) => Value::Bytes(*bytes),
        Kind::Count(count) => Value::Count(*count),
        Kind::Percent(percent) => Value::Percent(*percent),
        Kind::RatioPpm(ppm) => Value::Ratio(Ratio::from_ppm(*ppm)?),
        Kind::Flag(flag) => Value::Flag(*flag),
        Kind::Choice(choice) => Value::Choice(choice.clone()),
        Kind::Texts(texts) => Value::Texts(texts.texts.clone()),
        Kind::Off(_) => Value::Off,
    })
}

/// Writes a profile, in the order of paths: equal profiles have equal bytes.
pub fn encode_profile(profile: &Profile) -> pb::Profile {
    let setting = |(path, given): (&'static str, &Value)| pb::Setting {
        path: path.to_owned(),
        value: Some(value(given)),
    };
    pb::Profile {
        settings: profile.iter().map(setting).collect(),
    }
}

/// Writes a value.
pub fn value(value: &Value) -> pb::Value {
    use pb::value::Kind;
    let kind = match value {
        Value::Off => Kind::Off(true),
        Value::Duration(duration) => {
            Kind::DurationMs(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        }
        Value::Bytes(bytes) => Kind::Bytes(*bytes),
        Value::Count(count) => Kind::Count(*count),
        Value::Percent(percent) => Kind::Percent(*percent),
        Value::Ratio(ratio) => Kind::RatioPpm(ratio.ppm()),
        Value::Flag(flag) => Kind::Flag(*flag),
        Value::Choice(choice) => Kind::Choice(choice.clone()),
        Value::Texts(texts) => Kind::Texts(pb::Texts {
            texts: texts.clone(),
        }),
    };
    pb::Value { kind: Some(kind) }
}

/// Writes a knob's declaration.
pub fn knob(knob: &Knob) -> pb::Knob {
    pb::Knob {
        path: knob.path.to_owned(),
        r#type: knob.kind_name().to_owned(),
        default: knob.default_value().to_string(),
        bound: knob.bound(),
        apply: apply_class(knob.apply) as i32,
        meaning: knob.meaning.to_owned(),
    }
}

fn apply_class(class: ApplyClass) -> pb::ApplyClass {
    match class {
        ApplyClass::Hot => pb::ApplyClass::Hot,
        ApplyClass::NewConnections => pb::ApplyClass::NewConnections,
        ApplyClass::Drain => pb::ApplyClass::Drain,
        ApplyClass::Restart => pb::ApplyClass::Restart,
        ApplyClass::Host => pb::ApplyClass::Host,
    }
}

/// Writes what is wrong with a field.
pub fn field_error(problem: &Problem) -> pb::FieldError {
    let code = match problem.code {
        Code::Unknown => pb::FieldErrorCode::Unknown,
        Code::Type => pb::FieldErrorCode::Type,
        Code::Range => pb::FieldErrorCode::Range,
        Code::Conflict => pb::FieldErrorCode::Conflict,
        Code::Infeasible => pb::FieldErrorCode::Infeasible,
        Code::Unsupported => pb::FieldErrorCode::Unsupported,
        Code::Quarantined => pb::FieldErrorCode::Quarantined,
    };
    pb::FieldError {
        path: problem.path.clone(),
        code: code as i32,
        message: problem.message.clone(),
        value: problem.value.clone(),
        bound: problem.bound.clone(),
    }
}

/// Reads what is wrong with a field; a code of a newer version counts as infeasible.
pub fn problem(error: &pb::FieldError) -> Problem {
    let code = match error.code() {
        pb::FieldErrorCode::Unknown => Code::Unknown,
        pb::FieldErrorCode::Type => Code::Type,
        pb::FieldErrorCode::Range => Code::Range,
        pb::FieldErrorCode::Conflict => Code::Conflict,
        pb::FieldErrorCode::Unspecified | pb::FieldErrorCode::Infeasible => Code::Infeasible,
        pb::FieldErrorCode::Unsupported => Code::Unsupported,
        pb::FieldErrorCode::Quarantined => Code::Quarantined,
    };
    Problem::new(&error.path, code, &error.message, &error.value).bounded(&error.bound)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use weir_core::tuning::{PRESETS, all};

    #[test]
    fn every_value_survives_the_wire() {
        let mut profile = Profile::new();
        for knob in all() {
            profile.set(knob, knob.default_value()).unwrap();
        }
        for profile in PRESETS.iter().map(|p| p.profile()).chain([profile]) {
            let decoded = decode_profile(&encode_profile(&profile));
            assert_eq!(decoded.profile, profile);
            assert_eq!((decoded.unknown, decoded.problems), (vec![], vec![]));
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_named_and_not_lost() {
        let setting = |path: &str, kind| pb::Setting {
            path: path.to_owned(),
            value: Some(pb::Value { kind: Some(kind) }),
        };
        let decoded = decode_profile(&pb::Profile {
            settings: vec![
                setting("ingress.warp", pb::value::Kind::Count(9)),
                setting("ingress.headers_max", pb::value::Kind::Count(1_000_000)),
                setting("ingress.drain_timeout", pb::value::Kind::Count(1)),
            ],
        });
        assert_eq!(decoded.unknown[0].path, "ingress.warp");
        assert_eq!(decoded.problems.len(), 2);
        assert!(decoded.profile.is_empty());
        for found in decoded.problems {
            assert_eq!(problem(&field_error(&found)), found);
        }
    }
}
