#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| _ = strongroom_fuzz::vm_home_from_config(bytes));
