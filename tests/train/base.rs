//! Errors, files and devices, which all modules stand on.

use genailab::{
    Error, ErrorKind,
    device::{Device, Resources, meminfo_bytes},
    train::{write_atomically, write_atomically_with},
};
use std::io::Write;

#[test]
fn messages_give_place_and_cause() {
    let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
    let error = Error::io("read", "cells.h5ad", missing).at("inspect");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), "inspect: cannot read cells.h5ad: entity not found");
    assert_eq!(
        Error::shape("linear", (2, 3), (4, 5)).to_string(),
        "linear: the shapes (2, 3) and (4, 5) do not fit together"
    );
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write_atomically(&path, b"old").unwrap();
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = write_atomically_with(&path, |file, _| file.write_all(b"half").and(Err(full()))).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the unfinished file is still there");
    write_atomically(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap().path().join("gone");
    let error = write_atomically(&folder.join("file"), b"").unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn names_and_back() {
    for (text, device) in [
        ("cpu", Device::Cpu),
        ("cuda", Device::Cuda(0)),
        ("cuda:3", Device::Cuda(3)),
        ("metal", Device::Metal),
        ("vulkan", Device::Vulkan),
    ] {
        assert_eq!(text.parse::<Device>().expect("a device"), device);
        assert_eq!(device.to_string(), text);
    }
    assert_eq!("CPU".parse::<Device>().expect("case does not matter"), Device::Cpu);
    for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu:1"] {
        let error = wrong.parse::<Device>().expect_err("no device").to_string();
        assert!(error.contains("auto, cpu, cuda, cuda:N, metal or vulkan"), "{error}");
    }
}

#[test]
fn auto_is_usable_and_the_others_say_why_not() {
    Device::auto().check().expect("auto chooses what works");
    let why_not = |device: Device| device.check().expect_err("not there").to_string();
    if cfg!(not(target_os = "macos")) {
        assert_eq!(why_not(Device::Metal), "metal: not built in, as this is no Apple machine; use vulkan or cpu");
        if cfg!(not(feature = "metal")) {
            assert_eq!(why_not(Device::Vulkan), "vulkan: not built in; rebuild with --features metal");
        }
    }
    if cfg!(not(feature = "cuda")) {
        assert_eq!(
            Device::Cuda(0).check().expect_err("not there").to_string(),
            "cuda: not built in; rebuild with --features cuda"
        );
    }
}

#[test]
fn memory_is_read_in_bytes() {
    let text = "MemTotal:       24608768 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
    assert_eq!(meminfo_bytes(text, "MemTotal:"), Some(24_608_768 * 1024));
    assert_eq!(meminfo_bytes(text, "SwapTotal:"), None);
    assert!(Resources::detect().cores >= 1);
}
