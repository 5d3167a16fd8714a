//! What the library's structs look like in memory: every place that is relied on is asserted.

use std::{
    ffi::{c_char, c_int},
    mem::{offset_of, size_of},
};

#[repr(C)]
pub(super) struct ConnectParams {
    pub(super) vmx_spec: *mut c_char,
    pub(super) server_name: *mut c_char,
    pub(super) thumbprint: *mut c_char,
    pub(super) reserved_1: isize,
    pub(super) cred_type: c_int,
    /// `{user, password}` for [`CRED_UID`].
    pub(super) creds: [*mut c_char; 3],
    pub(super) port: u32,
    pub(super) nfc_host_port: u32,
    pub(super) reserved_2: [*mut c_char; 3],
    pub(super) spec: [*mut c_char; 3],
    pub(super) spec_type: c_int,
}

/// Credentials are a user and a password.
pub(super) const CRED_UID: c_int = 1;
/// The disk belongs to a VM.
pub(super) const SPEC_VMX: c_int = 0;

const _: () = {
    assert!(size_of::<ConnectParams>() == 128);
    assert!(offset_of!(ConnectParams, server_name) == 8);
    assert!(offset_of!(ConnectParams, thumbprint) == 16);
    assert!(offset_of!(ConnectParams, cred_type) == 32);
    assert!(offset_of!(ConnectParams, creds) == 40);
    assert!(offset_of!(ConnectParams, port) == 64);
    assert!(offset_of!(ConnectParams, nfc_host_port) == 68);
    assert!(offset_of!(ConnectParams, reserved_2) == 72);
    assert!(offset_of!(ConnectParams, spec) == 96);
    assert!(offset_of!(ConnectParams, spec_type) == 120);
};

/// As of major 6; 7 and later have two sector sizes behind it.
#[repr(C)]
pub(super) struct Info {
    pub(super) bios_geometry: [u32; 3],
    pub(super) physical_geometry: [u32; 3],
    pub(super) capacity: u64,
    pub(super) adapter_type: c_int,
    pub(super) links: c_int,
    pub(super) parent_hint: *mut c_char,
    pub(super) uuid: *mut c_char,
}

#[repr(C)]
pub(super) struct SectorSizes {
    pub(super) logical: u32,
    pub(super) physical: u32,
}

#[repr(C)]
pub(super) struct LongInfo {
    pub(super) info: Info,
    pub(super) sizes: SectorSizes,
}

const _: () = {
    assert!(size_of::<Info>() == 56);
    assert!(offset_of!(Info, physical_geometry) == 12);
    assert!(offset_of!(Info, capacity) == 24);
    assert!(offset_of!(Info, adapter_type) == 32);
    assert!(offset_of!(Info, links) == 36);
    assert!(offset_of!(Info, parent_hint) == 40);
    assert!(offset_of!(Info, uuid) == 48);
    assert!(size_of::<LongInfo>() == 64);
    assert!(offset_of!(LongInfo, sizes) == 56);
};

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[repr(C)]
pub(super) struct BlockList {
    pub(super) count: u32,
    pub(super) blocks: [Block; 0],
}

const _: () = {
    assert!(offset_of!(BlockList, blocks) == 8);
    assert!(size_of::<Block>() == 16);
};
