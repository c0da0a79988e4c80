//! Files are read as they are written, and what is wrong in them is named.

use super::*;
use weir_core::tuning::{Value, all};

fn settings(profile: &Profile) -> Vec<TextSetting> {
    let setting = |(path, value): (&'static str, &Value)| TextSetting {
        path: path.to_owned(),
        value: value.to_string(),
    };
    profile.iter().map(setting).collect()
}

fn problems(text: &str) -> Vec<String> {
    let found = ProfileFile::parse(text).and_then(|file| file.check());
    found.unwrap_err().iter().map(Found::to_string).collect()
}

#[test]
fn what_is_written_reads_back_as_it_was() {
    let mut everything = Profile::new();
    for knob in all() {
        everything.set(knob, knob.default_value()).unwrap();
    }
    for profile in PRESETS
        .iter()
        .map(|preset| preset.profile())
        .chain([everything])
    {
        let file = ProfileFile::parse(&to_toml(&settings(&profile))).unwrap();
        assert_eq!(file.check().unwrap(), profile);
    }
}

#[test]
fn a_knob_of_another_version_is_written_as_it_is() {
    let newer = vec![TextSetting {
        path: "ingress.warp.\"factor\"\n\u{7f}".to_owned(),
        value: "9 \"\\\n".to_owned(),
    }];
    assert_eq!(
        ProfileFile::parse(&to_toml(&newer)).unwrap().settings,
        newer
    );
}

#[test]
fn every_kind_of_value_is_read() {
    let file = ProfileFile::parse(
        "preset = \"high-traffic\"\n\
         [ingress]\nconnections_max = 250_000\nforwarded = true\ncompression = [\"br\", \"gzip\"]\n\
         [telemetry]\nsample_ratio = 0.25\n[balancer]\npanic_percent = 40\ndrain_timeout = \"10s\"\n",
    )
    .unwrap();
    assert_eq!(file.preset.as_deref(), Some("high-traffic"));
    let values: BTreeMap<&str, &str> = file
        .settings
        .iter()
        .map(|setting| (setting.path.as_str(), setting.value.as_str()))
        .collect();
    assert_eq!(values["ingress.connections_max"], "250000");
    assert_eq!(values["ingress.compression"], "br, gzip");
    assert_eq!(values["telemetry.sample_ratio"], "0.25");
    assert_eq!(values["ingress.forwarded"], "true");
    let profile = file.check().unwrap();
    assert!(profile.len() > 6, "the preset is below");
}

#[test]
fn every_problem_is_named_with_its_line_and_bound() {
    let found = problems(
        "[balancer]\ndrain_timeout = \"99d\"\npolicy = \"best\"\n\n[ingress]\nheaders_max = -1\nwarp = 1\n",
    );
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found[0].starts_with("line 2: balancer.drain_timeout: `99d` is out of bounds (allowed:")
    );
    assert!(found[1].starts_with("line 3: balancer.policy: `best`"));
    assert!(found[2].starts_with("line 6: ingress.headers_max: `-1`"));
    assert!(found[3].starts_with("line 7: ingress.warp: `1`"));
}

#[test]
fn a_rule_between_knobs_is_checked() {
    let found = problems("[ingress]\nh2_stream_window = \"8MiB\"\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("line 2: ingress.h2_stream_window: `8MiB` is more than"),
        "{found:?}"
    );
}

#[test]
fn a_key_that_is_there_twice_is_named_with_its_line() {
    let found = problems("[balancer]\npolicy = \"random\"\npolicy = \"peak_ewma\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("line 3: ") && found[0].contains("duplicate"),
        "{found:?}"
    );
    let found = problems("\"balancer.policy\" = \"random\"\n[balancer]\npolicy = \"random\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("balancer.policy: `random` is a second value of one knob"));
}

#[test]
fn what_no_knob_takes_is_refused() {
    for (text, named) in [
        ("[ingress]\nheaders_max = 2026-01-01\n", "is a date"),
        (
            "[ingress]\ncompression = [1]\n",
            "is a list of something else than texts",
        ),
        (
            "[ingress]\ncompression = [\"a,b\"]\n",
            "has a comma in `a,b`",
        ),
        (
            "[ingress]\nheaders_max = 99999999999999999999\n",
            "is too large",
        ),
        (
            "preset = \"best\"\n",
            "line 1: preset: `best` is no preset (allowed: standard,",
        ),
        ("preset = \n", "line 1: file: "),
        ("not toml", "line 1: file: "),
        ("[a.b.c.d.e.f.g.h.i]\nj = 1\n", "deep"),
    ] {
        let found = problems(text);
        assert!(found[0].contains(named), "{text}: {found:?}");
    }
}

#[test]
fn a_profile_of_too_many_settings_is_refused() {
    let many: String = (0..2 * SETTINGS_MAX)
        .map(|at| format!("knob_{at} = 1\n"))
        .collect();
    let found = problems(&format!("[x]\n{many}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("more than a profile may have (1024)"));
}
