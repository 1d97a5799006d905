//! Bearer tokens and client certificates.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Accounts, Known};
use crate::who::User;

/// Knows callers by their token, or by the certificate their connection presented.
///
/// Tokens are kept as SHA-256, so that neither a dump nor a slow comparison gives one away.
#[derive(Default)]
pub struct Authenticator {
    tokens: BTreeMap<[u8; 32], User>,
    accounts: Option<Arc<Accounts>>,
}

/// A line of a token file that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; expected token,user,uid and optionally \"group1,group2\"")]
pub struct TokenFileError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Authenticator {
    /// Knows nobody yet.
    pub fn new() -> Authenticator {
        Authenticator::default()
    }

    /// Adds a token.
    pub fn add(&mut self, token: &str, user: User) {
        self.tokens.insert(digest(token), user);
    }

    /// Believes tokens of service accounts, too.
    pub fn add_accounts(&mut self, accounts: Arc<Accounts>) {
        self.accounts = Some(accounts);
    }

    /// Who issues tokens of service accounts, if anybody.
    pub(crate) fn accounts(&self) -> Option<&Accounts> {
        self.accounts.as_deref()
    }

    /// Whose token this is, and for which of these audiences; none asked for means this server's own. Tokens of a file are
    /// for this server's audiences.
    pub(crate) fn know(&self, token: &str, audiences: &[String]) -> Option<Known> {
        let own = self.accounts().map(Accounts::audiences).unwrap_or_default();
        let asked = if audiences.is_empty() { &own } else { audiences };
        let Some(user) = self.tokens.get(&digest(token)) else { return self.accounts()?.know(token, asked) };
        let audiences: Vec<String> = asked.iter().filter(|a| own.contains(a)).cloned().collect();
        (asked.is_empty() || !audiences.is_empty()).then(|| Known { user: user.clone(), audiences })
    }

    /// Adds the users of a static token file in kube-apiserver's format: CSV with token, user name, uid and optional groups.
    ///
    /// # Errors
    /// Names the first line that cannot be read.
    pub fn add_file(&mut self, text: &str) -> Result<(), TokenFileError> {
        for (index, line) in
            text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'))
        {
            let wrong = |what| TokenFileError { line: index + 1, what };
            let columns = columns(line).ok_or_else(|| wrong("unclosed quote"))?;
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(wrong("fewer than three columns"));
            };
            if token.is_empty() || name.is_empty() {
                return Err(wrong("empty token or user name"));
            }
            let groups = rest.first().map_or("", String::as_str);
            let groups: Vec<&str> = groups.split(',').map(str::trim).filter(|g| !g.is_empty()).collect();
            self.add(token, User { uid: uid.clone(), ..User::new(name, &groups) });
        }
        Ok(())
    }

    /// Who sends this request: `authorization` is the header's value, `peer` the certificate of the connection, already
    /// verified against the cluster's authority. `None` for wrong credentials; callers without any are anonymous.
    pub fn user(&self, authorization: Option<&str>, peer: Option<&User>) -> Option<User> {
        match authorization.map(|a| a.split_once(' ').unwrap_or((a, ""))) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.know(token.trim(), &[]).map(|known| known.user)
            }
            Some(_) | None => Some(peer.cloned().unwrap_or_else(User::anonymous)),
        }
    }
}

/// The user a client certificate names: common name, organisations as groups.
pub(crate) fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(User::new(&name, &groups))
}

/// When a certificate ends.
pub(crate) fn certificate_end(der: &[u8]) -> Option<stdx::Time> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(stdx::Time::from_secs(certificate.validity().not_after.timestamp()))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Columns of one CSV line; quotes may enclose a column.
fn columns(line: &str) -> Option<Vec<String>> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for c in line.trim_end_matches('\r').chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            c => {
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    (!quoted).then(|| out.into_iter().map(|c| c.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_file_is_read_as_kube_apiserver_does() {
        let mut who = Authenticator::new();
        who.add_file("# comment\nt1,admin,1,\"system:masters,dev\"\n\nt2,viewer,2\n").unwrap();
        let admin = who.user(Some("Bearer t1"), None).unwrap();
        assert_eq!(
            (admin.name.as_str(), admin.is_in("system:masters"), admin.is_in("dev")),
            ("admin", true, true)
        );
        assert!(who.user(Some("bearer t2"), None).unwrap().is_in("system:authenticated"));
    }

    #[test]
    fn a_broken_token_file_names_its_line() {
        let mut who = Authenticator::new();
        assert_eq!(who.add_file("a,b,c\nx,y\n").unwrap_err().line, 2);
        assert_eq!(who.add_file("a,b,c,\"x\n").unwrap_err().what, "unclosed quote");
    }

    #[test]
    fn a_wrong_token_is_nobody_and_none_is_anonymous() {
        let who = Authenticator::new();
        assert_eq!(who.user(Some("Bearer nope"), None), None);
        assert_eq!(who.user(None, None).unwrap().name, "system:anonymous");
        let peer = User::new("cert", &[]);
        assert_eq!(who.user(None, Some(&peer)), Some(peer));
    }
}
