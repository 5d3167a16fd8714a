//! The calls that are made, and which of them may be made again.

use crate::soap::{Again, Door, Method};

const fn asks(name: &'static str) -> Method {
    Method { name, door: Door::Vim, again: Again::Yes }
}

const fn changes(name: &'static str) -> Method {
    Method { name, door: Door::Vim, again: Again::No }
}

const fn asks_policy(name: &'static str) -> Method {
    Method { name, door: Door::Pbm, again: Again::Yes }
}

pub(crate) const RETRIEVE_SERVICE_CONTENT: Method = asks("RetrieveServiceContent");
pub(crate) const CURRENT_TIME: Method = asks("CurrentTime");
pub(crate) const LOGIN: Method = changes("Login");
pub(crate) const LOGOUT: Method = changes("Logout");

pub(crate) const CREATE_CONTAINER_VIEW: Method = asks("CreateContainerView");
pub(crate) const DESTROY_VIEW: Method = asks("DestroyView");
pub(crate) const RETRIEVE_PROPERTIES: Method = asks("RetrievePropertiesEx");
pub(crate) const CONTINUE_RETRIEVE_PROPERTIES: Method = asks("ContinueRetrievePropertiesEx");
pub(crate) const HAS_PRIVILEGE_ON_ENTITIES: Method = asks("HasPrivilegeOnEntities");
pub(crate) const FIND_BY_UUID: Method = asks("FindByUuid");
/// Reads only, though it is a task.
pub(crate) const SEARCH_DATASTORE: Method = asks("SearchDatastore_Task");

pub(crate) const RECONFIG_VM: Method = changes("ReconfigVM_Task");
pub(crate) const POWER_ON_VM: Method = changes("PowerOnVM_Task");
pub(crate) const DESTROY: Method = changes("Destroy_Task");
pub(crate) const CREATE_VM: Method = changes("CreateVM_Task");
pub(crate) const CREATE_SNAPSHOT: Method = changes("CreateSnapshot_Task");
pub(crate) const REMOVE_SNAPSHOT: Method = changes("RemoveSnapshot_Task");
pub(crate) const QUERY_CHANGED_DISK_AREAS: Method = asks("QueryChangedDiskAreas");

pub(crate) const LIST_KMIP_SERVERS: Method = asks("ListKmipServers");
pub(crate) const IS_KMS_CLUSTER_ACTIVE: Method = asks("IsKmsClusterActive");
pub(crate) const QUERY_CRYPTO_KEY_STATUS: Method = asks("QueryCryptoKeyStatus");

pub(crate) const PBM_RETRIEVE_SERVICE_CONTENT: Method = asks_policy("PbmRetrieveServiceContent");
pub(crate) const PBM_QUERY_ASSOCIATED_PROFILE: Method = asks_policy("PbmQueryAssociatedProfile");
pub(crate) const PBM_QUERY_PROFILE: Method = asks_policy("PbmQueryProfile");
pub(crate) const PBM_RETRIEVE_CONTENT: Method = asks_policy("PbmRetrieveContent");
