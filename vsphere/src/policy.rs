//! Storage policies: which a VM and its disks have, which there are, and which of them encrypt.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::{PolicyEncrypts, StoragePolicy};

use crate::{
    calls,
    session::Session,
    soap::{CallError, Element, ManagedObject},
};

/// The namespace of the capability that encrypts.
const ENCRYPTION: &str = "vmwarevmcrypt";
/// The namespace of capabilities that stand for a policy of their own: their id is its id.
const DATA_SERVICE: &str = "com.vmware.storageprofile.dataservice";

/// What a policy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyOf<'o> {
    /// The home of a VM.
    Home {
        /// The VM.
        vm: &'o ManagedObject,
    },
    /// A disk of a VM.
    Disk {
        /// The VM.
        vm: &'o ManagedObject,
        /// The key of the disk among its devices.
        key: i32,
    },
}

impl PolicyOf<'_> {
    fn element(&self, vcenter: &str) -> Element {
        let (kind, key) = match self {
            Self::Home { vm } => ("virtualMachine", vm.moref().to_owned()),
            Self::Disk { vm, key } => ("virtualDiskId", format!("{}:{key}", vm.moref())),
        };
        Element::new("entity").with_text("objectType", kind).with_text("key", key).with_text("serverUuid", vcenter)
    }
}

/// The service that knows policies.
#[derive(Debug)]
pub struct Policies<'s> {
    session: &'s Session,
    manager: ManagedObject,
}

impl<'s> Policies<'s> {
    /// Asks the server for it.
    pub fn of(session: &'s Session) -> Result<Self, CallError> {
        let instance = ManagedObject::new("PbmServiceInstance", "ServiceInstance");
        let method = calls::PBM_RETRIEVE_SERVICE_CONTENT;
        let content = session.call_for(method, &instance, &[], "service content")?;
        let manager = content.child("profileManager").and_then(ManagedObject::of);
        let manager = manager.ok_or_else(|| session.incomplete(method, "profileManager"))?;
        Ok(Self { session, manager })
    }

    /// Ids of the policies that something has: none, one, rarely more.
    pub fn associated(&self, of: &PolicyOf<'_>) -> Result<Vec<String>, CallError> {
        let vcenter = self.session.about().instance_uuid.as_deref().unwrap_or_default();
        let answer = self.session.call(calls::PBM_QUERY_ASSOCIATED_PROFILE, &self.manager, &[of.element(vcenter)])?;
        Ok(answer.values().filter_map(|id| id.text_at("uniqueId")).map(str::to_owned).collect())
    }

    /// All policies that can be given to a VM or a disk. One of which it is not known that it encrypts counts as one that does not.
    pub fn all(&self) -> Result<Vec<StoragePolicy>, CallError> {
        let resource = Element::new("resourceType").with_text("resourceType", "STORAGE");
        let params = [resource, Element::text_of("profileCategory", "REQUIREMENT")];
        let answer = self.session.call(calls::PBM_QUERY_PROFILE, &self.manager, &params)?;
        let ids: Vec<String> = answer.values().filter_map(|id| id.text_at("uniqueId")).map(str::to_owned).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let profiles = self.profiles(&ids)?;
        let mut known: BTreeMap<String, Profile> =
            profiles.iter().map(|profile| (profile.id.clone(), profile.clone())).collect();
        self.add_data_services(&mut known);
        let policy = |profile: &Profile| StoragePolicy {
            id: profile.id.clone(),
            name: profile.name.clone(),
            encrypts: if encrypts(profile, &known) { PolicyEncrypts::Yes } else { PolicyEncrypts::No },
        };
        Ok(profiles.iter().map(policy).collect())
    }

    /// Policies of data services are in no list, only referred to. One that cannot be read encrypts nothing that we know of.
    fn add_data_services(&self, known: &mut BTreeMap<String, Profile>) {
        let mut asked = BTreeSet::new();
        loop {
            let referred = known.values().flat_map(Profile::data_services).map(str::to_owned);
            let wanted: Vec<String> = referred.filter(|id| !known.contains_key(id) && !asked.contains(id)).collect();
            if wanted.is_empty() {
                return;
            }
            for id in wanted {
                let found = self.profiles(std::slice::from_ref(&id)).unwrap_or_default();
                known.extend(found.into_iter().map(|profile| (profile.id.clone(), profile)));
                asked.insert(id);
            }
        }
    }

    fn profiles(&self, ids: &[String]) -> Result<Vec<Profile>, CallError> {
        let ids = ids.iter().map(|id| Element::new("profileIds").with_text("uniqueId", id.as_str()));
        let params: Vec<Element> = ids.collect();
        let answer = self.session.call(calls::PBM_RETRIEVE_CONTENT, &self.manager, &params)?;
        Ok(answer.values().filter_map(Profile::of).collect())
    }
}

/// A policy with its capabilities, of which only namespace and id matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Profile {
    id: String,
    name: String,
    capabilities: Vec<(String, String)>,
}

impl Profile {
    fn of(profile: &Element) -> Option<Self> {
        let constraints = profile.child("constraints");
        let parts = constraints.into_iter().flat_map(|constraints| constraints.all("subProfiles"));
        let ids = parts.flat_map(|part| part.all("capability")).filter_map(|capability| capability.child("id"));
        let text = |id: &Element, name: &str| id.text_at(name).unwrap_or_default().to_owned();
        Some(Self {
            id: profile.text_at("profileId.uniqueId")?.to_owned(),
            name: profile.text_at("name").unwrap_or_default().to_owned(),
            capabilities: ids.map(|id| (text(id, "namespace"), text(id, "id"))).collect(),
        })
    }

    fn data_services(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().filter(|(namespace, _)| namespace == DATA_SERVICE).map(|(_, id)| id.as_str())
    }
}

/// A policy encrypts if it has the capability itself, or by a policy that it refers to.
fn encrypts(profile: &Profile, known: &BTreeMap<String, Profile>) -> bool {
    let (mut open, mut seen) = (vec![profile], BTreeSet::new());
    while let Some(profile) = open.pop() {
        if profile.capabilities.iter().any(|(namespace, _)| namespace.eq_ignore_ascii_case(ENCRYPTION)) {
            return true;
        }
        // Policies that refer to each other in a circle are seen once.
        if seen.insert(profile.id.as_str()) {
            open.extend(profile.data_services().filter_map(|id| known.get(id)));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        soap::test_server::Reply,
        test_session::{session, vm},
    };

    fn profile(id: &str, capabilities: &[(&str, &str)]) -> String {
        let capabilities: String = capabilities
            .iter()
            .map(|(namespace, id)| {
                format!("<capability><id><namespace>{namespace}</namespace><id>{id}</id></id></capability>")
            })
            .collect();
        format!(
            "<returnval xsi:type=\"PbmCapabilityProfile\"><profileId><uniqueId>{id}</uniqueId></profileId><name>Policy {id}</name>\
             <constraints><subProfiles><name>s</name>{capabilities}</subProfiles></constraints></returnval>"
        )
    }

    #[test]
    fn a_policy_encrypts_itself_or_by_the_data_service_it_refers_to() {
        let (_server, session) = session(|call, _, seen| match call {
            "PbmRetrieveServiceContent" => Reply::response(
                call,
                "<returnval><profileManager type=\"PbmProfileProfileManager\">ProfileManager</profileManager></returnval>",
            ),
            "PbmQueryProfile" => {
                let ids = ["crypt", "by-service", "plain", "circle", "broken"];
                let ids = ids.map(|id| format!("<returnval><uniqueId>{id}</uniqueId></returnval>"));
                Reply::response(call, &ids.concat())
            }
            "PbmRetrieveContent" if seen.text().contains(">plain<") => Reply::response(
                call,
                &[
                    profile("crypt", &[("vmwarevmcrypt", "vmwarevmcrypt@encryption")]),
                    profile("by-service", &[(DATA_SERVICE, "service-1")]),
                    profile("plain", &[("VSAN", "hostFailuresToTolerate")]),
                    profile("circle", &[(DATA_SERVICE, "circle")]),
                    profile("broken", &[(DATA_SERVICE, "gone")]),
                ]
                .concat(),
            ),
            "PbmRetrieveContent" if seen.text().contains(">service-1<") => {
                Reply::response(call, &profile("service-1", &[("vmwarevmcrypt", "x")]))
            }
            _ => Reply::fault("InvalidArgument", "no such profile"),
        });
        let all = Policies::of(&session).unwrap().all().unwrap();
        let encrypting: Vec<_> =
            all.iter().map(|policy| (policy.id.as_str(), policy.encrypts == PolicyEncrypts::Yes)).collect();
        assert_eq!(
            encrypting,
            [("crypt", true), ("by-service", true), ("plain", false), ("circle", false), ("broken", false)]
        );
        assert_eq!(all[0].name, "Policy crypt");
    }

    #[test]
    fn a_disk_is_asked_for_by_vm_and_key() {
        let entity = PolicyOf::Disk { vm: &vm(), key: 2000 }.element("dbed6e0c");
        assert_eq!(
            entity.to_xml(),
            "<entity><objectType>virtualDiskId</objectType><key>vm-16:2000</key><serverUuid>dbed6e0c</serverUuid></entity>"
        );
    }
}
