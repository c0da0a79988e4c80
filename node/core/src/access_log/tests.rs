use proptest::prelude::*;

use super::*;

fn line<'a>(target: &'a PathAndQuery, agent: &'a HeaderValue) -> Line<'a> {
    Line {
        at_unix_ms: 951_827_696_789,
        client: IpAddr::from([192, 0, 2, 7]),
        method: &Method::GET,
        target: Some(target),
        version: Version::HTTP_11,
        host: None,
        referer: None,
        user_agent: Some(agent),
        status: 200,
        bytes_sent: 12,
        bytes_received: 0,
        took: Duration::from_micros(1_500),
        service: "web",
        backend: "",
        cache: "hit",
        reason: "",
        trace_id: 10,
        request_id: None,
    }
}

fn written(line: &Line<'_>, format: Format) -> String {
    let mut bytes = Vec::new();
    line.write(format, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_is_one_json_object_without_what_is_not_known() {
    let (target, agent) = ("/a?b=1".parse().unwrap(), HeaderValue::from_static("x"));
    assert_eq!(
        written(&line(&target, &agent), Format::Json),
        "{\"time\":\"2000-02-29T12:34:56.789Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
         \"target\":\"/a?b=1\",\"protocol\":\"HTTP/1.1\",\"user_agent\":\"x\",\"status\":200,\
         \"bytes_sent\":12,\"bytes_received\":0,\"duration_ms\":1.500,\"service\":\"web\",\
         \"cache\":\"hit\",\"trace_id\":\"0000000000000000000000000000000a\"}\n"
    );
}

#[test]
fn a_request_is_a_combined_line() {
    let (target, agent) = ("/a".parse().unwrap(), HeaderValue::from_static("x y"));
    assert_eq!(
        written(&line(&target, &agent), Format::Combined),
        "192.0.2.7 - - [29/Feb/2000:12:34:56 +0000] \"GET /a HTTP/1.1\" 200 12 \"-\" \"x y\" 0.001500\n"
    );
}

#[test]
fn nothing_that_a_client_sends_leaves_its_place() {
    let target = "/a".parse().unwrap();
    let agent = HeaderValue::from_bytes(b"\" 1\\ \xff").unwrap();
    let json = written(&line(&target, &agent), Format::Json);
    assert!(
        json.contains("\"user_agent\":\"\\\" 1\\\\ \\u00ff\","),
        "{json}"
    );
    let combined = written(&line(&target, &agent), Format::Combined);
    assert!(combined.contains("\"\\\" 1\\\\ \\xff\" 0.0"), "{combined}");
}

proptest! {
    #[test]
    fn any_bytes_give_one_line_of_visible_ascii_of_bounded_length(bytes: Vec<u8>, times in 1_usize..300) {
        for escape in [Escape::Json, Escape::Quoted] {
            let mut into = Vec::new();
            text(&mut into, &bytes.repeat(times), escape);
            prop_assert!(into.iter().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(into.len() <= VALUE_BYTES_MAX * 6);
        }
    }
}
