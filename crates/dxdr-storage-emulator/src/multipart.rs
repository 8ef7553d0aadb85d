//! Bodies of `multipart/related`: metadata, bytes, and perhaps checksums behind them.

use bytes::Bytes;

use crate::failure::Failure;

/// The parts' bodies.
pub(crate) fn parts(content_type: &str, body: &Bytes) -> Result<Vec<Bytes>, Failure> {
    let boundary = boundary(content_type)
        .ok_or_else(|| Failure::invalid("Multipart uploads need a content type of multipart/related with a boundary."))?;
    let malformed = || Failure::new(400, "badContent", "Malformed multipart body.");
    let delimiter = format!("--{boundary}");
    let mut position = find(body, delimiter.as_bytes(), 0).ok_or_else(malformed)? + delimiter.len();
    let next = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while !body[position..].starts_with(b"--") {
        // What is left of the delimiter's line, and the headers of the part.
        let begin = find(body, b"\r\n", position).ok_or_else(malformed)? + 2;
        let begin = if body[begin..].starts_with(b"\r\n") {
            begin + 2
        } else {
            find(body, b"\r\n\r\n", begin).ok_or_else(malformed)? + 4
        };
        let end = find(body, next.as_bytes(), begin).ok_or_else(malformed)?;
        parts.push(body.slice(begin..end));
        position = end + next.len();
    }
    Ok(parts)
}

fn boundary(content_type: &str) -> Option<&str> {
    let mut parameters = content_type.split(';').map(str::trim);
    if !parameters.next()?.eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let boundary = parameters.find_map(|parameter| parameter.strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

fn find(body: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    // Bytes of a part are random more often than not, and most are not the first of a line's end.
    let first = *wanted.first()?;
    let mut position = from;
    while let Some(step) = body.get(position..)?.iter().position(|byte| *byte == first) {
        position += step;
        if body[position..].starts_with(wanted) {
            return Some(position);
        }
        position += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content_type: &str, body: &'static str) -> Result<Vec<String>, u16> {
        let parts = parts(content_type, &Bytes::from_static(body.as_bytes())).map_err(|failure| failure.status)?;
        Ok(parts.iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect())
    }

    #[test]
    fn parts_are_told_apart() {
        let body = "--x\r\ncontent-type: application/json\r\n\r\n{\"name\": \"a\"}\r\n--x\r\nA: b\r\nC: d\r\n\r\nby\r\ntes\r\n\r\n--x--\r\n";
        let expected = vec!["{\"name\": \"a\"}".to_owned(), "by\r\ntes\r\n".to_owned()];
        assert_eq!(texts("multipart/related; boundary=x", body), Ok(expected.clone()));
        assert_eq!(texts("Multipart/Related; boundary=\"x\"", body), Ok(expected));
    }

    #[test]
    fn parts_may_be_empty_and_have_no_headers() {
        let body = "--x\r\n\r\n{}\r\n--x\r\ncontent-type: text/plain\r\n\r\n\r\n--x--";
        assert_eq!(texts("multipart/related; boundary=x", body), Ok(vec!["{}".to_owned(), String::new()]));
    }

    #[test]
    fn other_bodies_are_refused() {
        assert_eq!(texts("multipart/related", "--x--"), Err(400));
        assert_eq!(texts("application/json; boundary=x", "--x--"), Err(400));
        assert_eq!(texts("multipart/related; boundary=x", "no delimiter"), Err(400));
        assert_eq!(texts("multipart/related; boundary=x", "--x\r\n\r\nnever ends"), Err(400));
    }
}
