#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| _ = strongroom_fuzz::helper_control(bytes));
