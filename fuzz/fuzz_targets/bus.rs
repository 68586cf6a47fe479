#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hongyan_fuzz::fuzz_bodies::bus::bus(data));
