//! P1, P2, P3, P6: what is asked, and what everything goes through.

use engine::Kind;

use super::{
    finding::{CheckId, Finding},
    library::check_library,
    looked_vm::LookedVm,
    options::PreflightReader,
};
use crate::{backup::uuid_bytes, session::Session};

/// The oldest API that is understood.
const API_MIN: (u32, u32) = (6, 5);

/// P1.
pub(super) fn check_server(session: &Session, vms: &[LookedVm<'_>]) -> Finding {
    let about = session.about();
    let server = format!("vcenter {}", session.server());
    if !about.is_vcenter() {
        let encrypted = vms.iter().filter(|vm| vm.config.is_encrypted()).count();
        let text = format!(
            "{} is a host asked directly: {encrypted} encrypted VMs here need a vCenter, and restore points are told apart by its uuid",
            about.full_name
        );
        return Finding::problem(CheckId::Server, Kind::Invalid, server, text)
            .hint("--vcenter with the vCenter that manages this host");
    }
    match about.instance_uuid.as_deref() {
        Some(uuid) if uuid_bytes(uuid).is_some() => {
            Finding::ok(CheckId::Server, server, format!("{}, instance {uuid}", about.full_name))
        }
        other => {
            let text = format!(
                "its instance uuid is {:?}, which is no uuid: restore points could not be told from those of others",
                other.unwrap_or_default()
            );
            Finding::problem(CheckId::Server, Kind::Failed, server, text)
        }
    }
}

/// P2. To a server with another certificate nothing is said, so that there is none here.
pub(super) fn check_certificate(session: &Session) -> Finding {
    let server = format!("vcenter {}", session.server());
    match session.certificate() {
        Some(certificate) => {
            let text = format!("the certificate is the pinned one: SHA-256 {}", certificate.sha256);
            Finding::ok(CheckId::Certificate, server, text)
        }
        None => Finding::note(CheckId::Certificate, server, "the certificate was not seen"),
    }
}

/// P3.
pub(super) fn check_versions(session: &Session, reader: &PreflightReader) -> Vec<Finding> {
    let about = session.about();
    let server = format!("vcenter {}", session.server());
    let api = &about.api_version;
    let level = about.api_level();
    let server = match level {
        Some(level) if level >= API_MIN => Finding::ok(CheckId::Versions, server, format!("API {api}")),
        Some(_) => Finding::problem(
            CheckId::Versions,
            Kind::Failed,
            server,
            format!("API {api} is too old: VM encryption begins with 6.5"),
        )
        .hint("upgrade the vCenter to 6.5 or newer"),
        None => Finding::warning(CheckId::Versions, server, format!("API version {api:?} cannot be read")),
    };
    let mut findings = vec![server];
    match reader {
        PreflightReader::Vddk { libdir, .. } => findings.extend(check_library(libdir.as_deref(), level)),
        PreflightReader::Outside => {
            let text = "disks come from somebody else's NBD server: VMware's library is not needed";
            findings.push(Finding::ok(CheckId::Versions, "reader", text));
        }
    }
    findings
}

/// P6. There is no unsealed repository, and no switch for one.
pub(super) fn check_sealed() -> Finding {
    let text = "what is read decrypted is sealed before it is stored: no repository is without keys";
    Finding::ok(CheckId::Sealed, "repository", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        soap::test_server::{Reply, TestServer},
        test_session::{login, pace},
    };

    /// A server whose `about` says this.
    fn server(about: &'static str) -> Finding {
        let server = TestServer::start(move |seen| {
            let call = seen.call();
            let content = format!(
                "<returnval><rootFolder type=\"Folder\">ha-folder-root</rootFolder><propertyCollector \
                 type=\"PropertyCollector\">pc</propertyCollector><viewManager type=\"ViewManager\">vm</viewManager>\
                 <about>{about}</about><sessionManager type=\"SessionManager\">sm</sessionManager><authorizationManager \
                 type=\"AuthorizationManager\">am</authorizationManager><searchIndex type=\"SearchIndex\">si</searchIndex>\
                 </returnval>"
            );
            match call.as_str() {
                "RetrieveServiceContent" => Reply::response(&call, &content),
                "Login" => Reply::response(&call, "<returnval><key>52</key><userName>svc</userName></returnval>")
                    .with_header("Set-Cookie: vmware_soap_session=\"c\"; Path=/; HttpOnly; Secure"),
                _ => Reply::response(&call, ""),
            }
        });
        let session = login(&server, pace()).unwrap();
        check_server(&session, &[])
    }

    #[test]
    fn p1_a_host_asked_directly_is_told_with_what_it_costs() {
        let found = server(
            "<name>ESXi</name><fullName>VMware ESXi 8.0.2 build-1</fullName><apiType>HostAgent</apiType><apiVersion>8.0.2.0</apiVersion>",
        );
        assert_eq!(found.state, super::super::finding::State::Problem(Kind::Invalid));
        assert_eq!(
            found.found,
            "VMware ESXi 8.0.2 build-1 is a host asked directly: 0 encrypted VMs here need a vCenter, and restore points are told apart by its uuid"
        );
        assert_eq!(found.hint.as_deref(), Some("--vcenter with the vCenter that manages this host"));
    }

    #[test]
    fn p1_a_vcenter_without_a_uuid_is_told() {
        let found = server(
            "<name>vc</name><fullName>vc</fullName><apiType>VirtualCenter</apiType><apiVersion>8.0.2.0</apiVersion><instanceUuid>none</instanceUuid>",
        );
        assert_eq!(found.state, super::super::finding::State::Problem(Kind::Failed));
        assert!(found.found.contains("its instance uuid is \"none\", which is no uuid"), "{}", found.found);
    }
}
