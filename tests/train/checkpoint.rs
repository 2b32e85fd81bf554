//! Weights on disk, and everything that can be wrong with a file.

use super::{model::Line, python};
use genailab::{
    ErrorKind,
    dfdx::prelude::Cpu,
    nn::{Checkpoint, HostTensor, Snapshot, load_params, save_params},
};
use std::{collections::HashMap, path::Path};

fn saved(folder: &Path) -> (std::path::PathBuf, Snapshot) {
    let path = folder.join("model.safetensors");
    let mut line = Line::new(&Cpu::default());
    line.bias.copy_from(&[f32::MIN_POSITIVE, -1.5e30]);
    line.seen.copy_from(&[f32::NAN]);
    save_params(&line, &path).unwrap();
    (path, line.snapshot())
}

fn bits(snapshot: &Snapshot) -> Vec<(String, Vec<u32>)> {
    let bits = |tensor: &HostTensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    snapshot.tensors().iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

#[test]
fn weights_come_back_bit_for_bit_and_files_are_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let (path, expected) = saved(folder.path());
    let mut line = Line::new(&Cpu::default());
    load_params(&mut line, &path).unwrap();
    assert_eq!(bits(&line.snapshot()), bits(&expected));
    let again = folder.path().join("again.safetensors");
    save_params(&line, &again).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file was left");
}

#[test]
fn metadata_and_prefixes_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let line = Line::new(&Cpu::default());
    let mut checkpoint = Checkpoint::default();
    checkpoint.add("a", line.snapshot());
    checkpoint.add("b", line.snapshot());
    checkpoint.metadata.insert("note".to_owned(), "\"quoted\" µ\n".to_owned());
    checkpoint.write(&path).unwrap();
    let mut read = Checkpoint::read(&path).unwrap();
    assert_eq!(read, checkpoint);
    assert_eq!(read.take("a"), line.snapshot());
    assert_eq!(read.take("a"), Snapshot::default());
    assert_eq!(read.take("b"), line.snapshot());
}

#[test]
fn python_reads_the_file() {
    const SCRIPT: &str = "
import sys
from safetensors.numpy import load_file
for name, tensor in sorted(load_file(sys.argv[1]).items()):
    print(name, tensor.dtype, list(tensor.shape), tensor.flatten().tolist())
";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut line = Line::with_shape(&Cpu::default(), 2, 2);
    line.weight.copy_from(&[1.0, 2.0, 3.0, -4.5]);
    save_params(&line, &path).unwrap();
    if let Some(output) = python(&["safetensors", "numpy"], SCRIPT, &[&path]) {
        let expected = "bias float32 [2] [0.0, 0.0]\nseen float32 [1] [0.0]\n\
                        weight float32 [2, 2] [1.0, 2.0, 3.0, -4.5]\n";
        assert_eq!(output, expected);
    }
}

/// Loading `path` into a model fails with a message that holds all of `says`, and leaves the model alone.
fn fails(path: &Path, kind: ErrorKind, says: &[&str]) {
    let mut line = Line::new(&Cpu::default());
    let before = line.snapshot();
    let error = load_params(&mut line, path).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in says.iter().chain(&[path.to_str().unwrap()]) {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert!(!message.contains('\n'), "{message:?} is more than one line");
    assert_eq!(line.snapshot(), before);
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fails(&folder.path().join("gone"), ErrorKind::Io, &["cannot read the checkpoint"]);
}

#[test]
fn a_truncated_or_foreign_file_is_told_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = saved(folder.path());
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        fails(&path, ErrorKind::Data, &["not a whole safetensors file", &format!("it has {length} bytes")]);
    }
    std::fs::write(&path, b"\x89HDF\r\n\x1a\n and so on and on").unwrap();
    fails(&path, ErrorKind::Data, &["not a whole safetensors file"]);
}

#[test]
fn another_models_file_is_told_by_name_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    save_params(&Line::with_shape(&Cpu::default(), 4, 2), &path).unwrap();
    fails(&path, ErrorKind::Data, &["`weight` has shape [4, 2], where the model has [6, 2]", "another model"]);
    let mut more = Checkpoint { tensors: Line::new(&Cpu::default()).snapshot(), ..Checkpoint::default() };
    more.tensors.insert("teacher.bias", HostTensor { shape: vec![3], values: vec![0.0; 3] });
    more.write(&path).unwrap();
    fails(&path, ErrorKind::Data, &["`teacher.bias` of shape [3] that the model does not have"]);
    let mut less = Checkpoint::default();
    less.tensors.insert("bias", HostTensor { shape: vec![2], values: vec![0.0; 2] });
    less.write(&path).unwrap();
    fails(&path, ErrorKind::Data, &["no tensor `weight` of shape [6, 2]"]);
}

#[test]
fn another_version_and_another_tool_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let write = |metadata: Option<&str>, kind, bytes: &[u8]| {
        let metadata = metadata.map(|text| HashMap::from([("genailab".to_owned(), text.to_owned())]));
        let view = safetensors::tensor::TensorView::new(kind, vec![2], bytes).unwrap();
        safetensors::serialize_to_file([("bias", view)], metadata, &path).unwrap();
    };
    write(None, safetensors::Dtype::F32, &[0; 8]);
    fails(&path, ErrorKind::Data, &["not one that genailab wrote"]);
    write(Some("{\"format\":\"99\"}"), safetensors::Dtype::F32, &[0; 8]);
    fails(&path, ErrorKind::Data, &["format 99", "reads format 1"]);
    write(Some("{}"), safetensors::Dtype::F32, &[0; 8]);
    fails(&path, ErrorKind::Data, &["format (none)"]);
    write(Some("[]"), safetensors::Dtype::F32, &[0; 8]);
    fails(&path, ErrorKind::Data, &["metadata is damaged"]);
    write(Some("{\"format\":\"1\"}"), safetensors::Dtype::F64, &[0; 16]);
    fails(&path, ErrorKind::Data, &["`bias` holds F64 numbers"]);
}
