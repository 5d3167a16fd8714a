//! What a person can do about an NBD server.

use engine::{Kind, NbdError, NbdUri};

use crate::failure::Failure;

/// The failure for an error of the server of `disk`.
pub fn nbd_failure(error: &NbdError, disk: &str, uri: &NbdUri) -> Failure {
    let failure = Failure::of(error, error.kind(), format!("{disk} = {uri}"));
    match error {
        NbdError::Connect { .. } | NbdError::Lost { .. } => {
            failure.with_advice("start the server or make it reachable, then run the same command again")
        }
        NbdError::NoExport { .. } => failure.with_advice("name one of its exports behind the host: nbd://HOST/EXPORT"),
        NbdError::TlsRequired { .. } => {
            failure.with_advice("write nbds:// and whom to trust: ?tls-ca=FILE or ?tls-pin=SHA256")
        }
        NbdError::NoTls { .. } => failure.with_advice("write nbd:// if the network in between is trusted"),
        NbdError::ReadOnly { .. } => failure.with_advice("start the server so that it may be written"),
        NbdError::Tls { .. } if error.kind() == Kind::Failed => {
            failure.with_advice("check the server's certificate, and ?tls-ca=, ?tls-pin= and ?tls-name=")
        }
        NbdError::Protocol { .. } | NbdError::Remote { .. } | NbdError::SizeChanged { .. } => {
            failure.with_advice("look at the server's own log, then run the same command again")
        }
        _ => failure,
    }
}
