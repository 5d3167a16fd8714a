//! What a backup needs, looked at before there is one. Every check is made, whatever the others found; nothing is changed.
//!
//! | room | checks |
//! |---|---|
//! | `server` | P1 a vCenter, P2 its certificate, P3 its version, P6 sealed |
//! | `library` | P3 VMware's library |
//! | `privileges` | P4 rights |
//! | `vm_checks` | P5 what is encrypted, P7 transports, P10 NVRAM, P11 disks, P12 state, P13 quiescing |
//! | `proxy` | P8 the VM that this program runs in |
//! | `keys` | P9 key providers and keys |

mod finding;
mod keys;
mod library;
mod looked_vm;
mod options;
mod privileges;
mod proxy;
mod server;
mod vm_checks;

pub use finding::{CheckId, Finding, State};
pub(crate) use keys::check_keys_of;
pub use looked_vm::unreadable_vm;
pub use options::{Chosen, PreflightOptions, PreflightReader};
pub use proxy::{FoundProxy, find_proxy, look_for_proxy, product_uuid};

use crate::{inventory::VmSummary, session::Session, transport::Proxy};
use looked_vm::LookedVm;

/// Makes all checks for a backup of `vms`; findings in the order P1 to P13.
pub fn preflight(session: &Session, vms: &[VmSummary], options: &PreflightOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut looked = Vec::new();
    for vm in vms {
        match LookedVm::look(session, vm) {
            Ok(vm) => looked.push(vm),
            Err(unreadable) => findings.push(unreadable),
        }
    }
    let (reader, vms) = (&options.reader, looked.as_slice());
    let (about_proxy, proxy) = proxy::check_proxy(session, options.product_uuid.as_deref(), reader, vms);
    let fit_for = proxy.as_ref().map_or(Proxy::Elsewhere, |proxy| proxy.proxy);
    findings.push(server::check_server(session, vms));
    findings.push(server::check_certificate(session));
    findings.extend(server::check_versions(session, reader));
    findings.extend(privileges::check(session, vms, reader, proxy.as_ref()));
    findings.extend(vm_checks::check_encryption(vms));
    findings.push(server::check_sealed());
    findings.extend(vm_checks::check_transport(vms, reader, fit_for));
    findings.extend(about_proxy);
    findings.extend(keys::check(session, vms));
    findings.extend(vm_checks::check_nvram(session, vms));
    findings.extend(vm_checks::check_disks(vms));
    findings.extend(vm_checks::check_state(session, vms, options.chosen));
    findings.extend(vm_checks::check_quiescing(vms, options.quiesce, options.chosen));
    // Stable: what each check said stays in its order.
    findings.sort_by_key(|finding| finding.check);
    findings
}
