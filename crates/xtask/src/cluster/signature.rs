//! Signed requests to an S3 server on loopback: no more than is needed to see that it takes objects.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::digest;

const REGION: &str = "us-east-1";
/// A local server that takes longer has not got itself together yet.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The pair that requests are signed with. Throwaway: it opens a test server on this machine.
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: String,
}

/// PUT or DELETE of a bucket (`/bucket`, no body) or an object (`/bucket/key`). Returns the HTTP status.
pub(crate) fn send(method: &str, port: u16, path: &str, body: &[u8], keys: &Keys) -> std::io::Result<u16> {
    let host = format!("127.0.0.1:{port}");
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let content = digest::of(body);
    let authorization = authorization(method, path, "", &host, &now, &content, keys);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\
         X-Amz-Date: {now}\r\nX-Amz-Content-Sha256: {content}\r\nAuthorization: {authorization}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    let status = line.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
    status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

/// AWS Signature Version 4 over the host, the date and the content's hash.
fn authorization(method: &str, path: &str, query: &str, host: &str, now: &str, content: &str, keys: &Keys) -> String {
    const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";
    let request = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{content}\nx-amz-date:{now}\n\n{SIGNED}\n{content}"
    );
    let day = now.split('T').next().unwrap_or(now);
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{}", digest::of(request));
    let key = format!("AWS4{}", keys.secret).into_bytes();
    let key = [day, REGION, "s3", "aws4_request"].iter().fold(key, |key, part| code(&key, part));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={SIGNED},Signature={}",
        keys.access,
        digest::hexadecimal(&code(&key, &text))
    )
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of every length; the error type belongs to the trait.
    let Ok(mut code) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Amazon's description of the algorithm: GET of a bucket's lifecycle configuration.
    #[test]
    fn a_request_is_signed_as_in_the_published_example() {
        let keys =
            Keys { access: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned() };
        let empty = digest::of(b"");
        let host = "examplebucket.s3.amazonaws.com";
        let header = authorization("GET", "/", "lifecycle=", host, "20130524T000000Z", &empty, &keys);
        assert!(header.ends_with("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"), "{header}");
    }
}
