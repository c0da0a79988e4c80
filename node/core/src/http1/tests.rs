use super::*;

const LIMITS: Limits = Limits {
    head_bytes_max: 256,
    headers_max: 4,
    request_line_bytes_max: 64,
    chunk_line_bytes_max: 16,
};

/// The verdict on all bytes at once.
fn feed(bytes: &str) -> Result<usize, Refused> {
    RequestGuard::new(LIMITS).feed(bytes.as_bytes())
}

/// Why a request with this header section is refused.
fn refusal(headers: &str) -> Option<Refusal> {
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    feed(&request).err().map(|refused| refused.refusal)
}

/// Why a chunked body is refused, and after how many of its bytes.
fn chunked(body: &str) -> Option<(usize, Refusal)> {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let refused = feed(&format!("{head}{body}")).err()?;
    Some((refused.pass - head.len(), refused.refusal))
}

#[test]
fn each_framing_doubt_is_refused() {
    use Refusal::*;
    for (headers, expected) in [
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            LengthAndTransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            LengthAndTransferEncoding,
        ),
        (
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            RepeatedContentLength,
        ),
        ("Content-Length: 1, 1\r\n", BadContentLength),
        ("Content-Length: +1\r\n", BadContentLength),
        ("Content-Length: -1\r\n", BadContentLength),
        ("Content-Length: 0x1\r\n", BadContentLength),
        ("Content-Length:\r\n", BadContentLength),
        ("Content-Length: 9223372036854775808\r\n", BadContentLength),
        ("Content-Length: 18446744073709551617\r\n", BadContentLength),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            UnsupportedTransferCoding,
        ),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            UnsupportedTransferCoding,
        ),
        ("Transfer-Encoding: xchunked\r\n", UnsupportedTransferCoding),
        ("Transfer-Encoding:\r\n", UnsupportedTransferCoding),
        (
            "Transfer-Encoding: chunked;q=1\r\n",
            UnsupportedTransferCoding,
        ),
        ("Transfer-Encoding: \x0bchunked\r\n", ControlCharacter),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            RepeatedTransferEncoding,
        ),
        ("Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
        ("Transfer-Encoding\t: chunked\r\n", SpaceBeforeColon),
    ] {
        assert_eq!(refusal(headers), Some(expected), "{headers:?}");
    }
}

#[test]
fn each_malformed_header_line_is_refused() {
    use Refusal::*;
    for (headers, expected) in [
        ("A: b\n", BareLf),
        ("A: b\n\r\n", BareLf),
        ("A: b\rc\r\n", BareCr),
        ("A: b\r\r\n", BareCr),
        ("A: b\0c\r\n", ControlCharacter),
        ("A: b\x7fc\r\n", ControlCharacter),
        ("A: b\r\n c\r\n", LineFolding),
        ("\tA: b\r\n", LineFolding),
        (": b\r\n", BadFieldName),
        ("A b: c\r\n", BadFieldName),
        ("A(: c\r\n", BadFieldName),
        ("Ä: c\r\n", BadFieldName),
        ("A\r\n", MissingColon),
        ("Host: a\r\n", RepeatedHost),
        ("A:\r\nA:\r\nA:\r\nA:\r\n", TooManyHeaders),
    ] {
        assert_eq!(refusal(headers), Some(expected), "{headers:?}");
    }
}

#[test]
fn each_malformed_request_line_is_refused() {
    use Refusal::*;
    for (line, expected) in [
        ("GET / HTTP/1.1\n", BareLf),
        ("GET /\r HTTP/1.1\r\n", BareCr),
        ("GET /\r\n", BadRequestLine),
        ("GET / http/1.1\r\n", BadRequestLine),
        ("GET / HTTP/1.1 \r\n", BadRequestLine),
        ("GET / HTTP/2.0\r\n", UnsupportedVersion),
        ("GET / HTTP/1.2\r\n", UnsupportedVersion),
        ("G(T / HTTP/1.1\r\n", BadMethod),
        (" GET / HTTP/1.1\r\n", BadMethod),
        ("GET  / HTTP/1.1\r\n", BadTarget),
        ("GET /a b HTTP/1.1\r\n", BadTarget),
        ("GET /\t HTTP/1.1\r\n", BadTarget),
        ("GET /é HTTP/1.1\r\n", BadTarget),
        ("GET /#a HTTP/1.1\r\n", BadTarget),
        ("GET a HTTP/1.1\r\n", BadTarget),
        ("GET * HTTP/1.1\r\n", BadTarget),
        ("GET ftp://a/ HTTP/1.1\r\n", BadTarget),
        ("GET http:///a HTTP/1.1\r\n", BadTarget),
        ("GET http://u@a/ HTTP/1.1\r\n", BadTarget),
        ("CONNECT a:1 HTTP/1.1\r\n", ConnectMethod),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\n", EmptyLines),
    ] {
        let found = feed(&format!("{line}Host: a\r\n\r\n"));
        assert_eq!(found.map_err(|it| it.refusal), Err(expected), "{line:?}");
    }
}

#[test]
fn sound_requests_pass_whole() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nhOsT:\t[::1]:80 \r\n\r\n",
        "GET http://a:80?q HTTP/1.1\r\nHost: b\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\tb\r\nY:\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n\n\n\n\n\n\n\n",
    ] {
        assert_eq!(feed(request), Ok(request.len()), "{request:?}");
    }
}

#[test]
fn http_1_1_needs_one_sound_host() {
    for (host, expected) in [
        ("", Refusal::MissingHost),
        ("Host:\r\n", Refusal::BadHost),
        ("Host: a b\r\n", Refusal::BadHost),
        ("Host: a/b\r\n", Refusal::BadHost),
        ("Host: u@a\r\n", Refusal::BadHost),
        ("Host: a, b\r\n", Refusal::BadHost),
    ] {
        let found = feed(&format!("GET / HTTP/1.1\r\n{host}\r\n"));
        assert_eq!(found.map_err(|it| it.refusal), Err(expected), "{host:?}");
    }
}

#[test]
fn http_1_0_knows_neither_chunks_nor_upgrades() {
    let chunked = feed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    let expected = Refusal::TransferEncodingInHttp10;
    assert_eq!(chunked.map_err(|it| it.refusal), Err(expected));
    let mut guard = RequestGuard::new(LIMITS);
    let upgrade = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    assert_eq!(guard.feed(upgrade), Ok(upgrade.len()));
    assert!(!guard.is_tunnel());
}

#[test]
fn each_malformed_chunk_is_refused_where_it_breaks() {
    use Refusal::*;
    for (body, at, expected) in [
        ("\r\n", 0, BadChunkSize),
        ("x\r\n", 0, BadChunkSize),
        ("+1\r\n", 0, BadChunkSize),
        ("0x1\r\n", 1, BadChunkSize),
        ("1 \r\n", 2, BadChunkSize),
        ("1 1\r\n", 2, BadChunkSize),
        ("1\na\r\n", 1, BareLf),
        ("1;a\nb\r\n", 3, BareLf),
        ("1;a\0", 3, ControlCharacter),
        ("1\ra\r\n", 2, BareCr),
        ("1\r\nab\r\n", 4, BadChunkEnd),
        ("1\r\na\n", 4, BadChunkEnd),
        ("1\r\na\r\r", 5, BadChunkEnd),
        ("8000000000000000\r\n", 15, ChunkSizeOverflow),
        ("1;3456789012345678\r\n", 16, ChunkLineTooLong),
        ("0\r\nContent-Length: 1\r\n\r\n", 3, ForbiddenTrailer),
        ("0\r\nA : 1\r\n\r\n", 3, SpaceBeforeColon),
        ("0\r\nA: 1\n\r\n", 3, BareLf),
        ("0\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", 3, TooManyHeaders),
    ] {
        assert_eq!(chunked(body), Some((at, expected)), "{body:?}");
    }
    assert_eq!(
        chunked("1 ;a=\"b\"\r\na\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"),
        None
    );
}

#[test]
fn limits_hold_for_whole_and_unfinished_heads() {
    let path = "a".repeat(64);
    for request in [format!("GET /{path} HTTP/1.1\r\n"), format!("GET /{path}")] {
        let refused = feed(&request).unwrap_err();
        assert_eq!(refused.refusal, Refusal::TargetTooLong);
    }
    let value = "a".repeat(256);
    for end in ["\r\n\r\n", ""] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}{end}");
        assert_eq!(feed(&request).unwrap_err().refusal, Refusal::HeadTooLarge);
    }
    let largest = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", &value[..224]);
    assert_eq!(largest.len(), 256);
    assert_eq!(feed(&largest), Ok(256));
}

#[test]
fn what_precedes_a_refused_request_passes() {
    let sound = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let mut guard = RequestGuard::new(LIMITS);
    let refused = guard
        .feed(format!("{sound}GET / HTTP/1.1\n").as_bytes())
        .unwrap_err();
    assert_eq!(
        (refused.pass, refused.refusal),
        (sound.len(), Refusal::BareLf)
    );
    assert_eq!(guard.heads(), 1);
    let again = guard.feed(b"").unwrap_err();
    assert_eq!((again.pass, again.refusal), (0, Refusal::BareLf));
}

#[test]
fn a_tunnel_opens_after_the_upgrade_request_and_its_body() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: x\r\n";
    let mut guard = RequestGuard::new(LIMITS);
    let request = format!("{head}\r\n\n\0 anything");
    assert_eq!(guard.feed(request.as_bytes()), Ok(request.len()));
    assert!(guard.is_tunnel() && guard.last_head().expects_upgrade);

    let mut guard = RequestGuard::new(LIMITS);
    let request = format!("{head}Content-Length: 2\r\n\r\na");
    assert_eq!(guard.feed(request.as_bytes()), Ok(request.len()));
    assert!(!guard.is_tunnel());
    assert_eq!(guard.feed(b"b\0"), Ok(2));
    assert!(guard.is_tunnel());
}

#[test]
fn upgrade_without_connection_upgrade_opens_no_tunnel() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";
    let mut guard = RequestGuard::new(LIMITS);
    assert_eq!(guard.feed(request.as_bytes()), Ok(request.len()));
    assert!(!guard.is_tunnel());
}

#[test]
fn statuses_say_what_is_wrong() {
    assert_eq!(Refusal::BareLf.status(), 400);
    assert_eq!(Refusal::ConnectMethod.status(), 405);
    assert_eq!(Refusal::TargetTooLong.status(), 414);
    assert_eq!(Refusal::HeadTooLarge.status(), 431);
    assert_eq!(Refusal::UnsupportedTransferCoding.status(), 501);
    assert_eq!(Refusal::UnsupportedVersion.status(), 505);
    assert_eq!(Refusal::BareLf.reason(), "bare-lf");
}

#[test]
fn a_limit_is_the_same_for_a_head_seen_whole_and_byte_by_byte() {
    for padding in 0..8 {
        let value = "a".repeat(221 + padding);
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
        let whole = feed(&head).map_err(|it| it.refusal);
        let mut guard = RequestGuard::new(LIMITS);
        let slow = (1..=head.len()).find_map(|end| match guard.feed(&head.as_bytes()[..end]) {
            Ok(0) => None,
            verdict => Some(verdict.map_err(|it| it.refusal)),
        });
        assert_eq!(slow, Some(whole));
        assert_eq!(whole.is_ok(), head.len() <= LIMITS.head_bytes_max);
    }
}
