"""Replay Jupyter's messages against the kernel `genailab` and check the answers.

Usage: protocol.py WORKING_FOLDER

Exit code: 0 everything as the protocol and this kernel's documentation say, 1 something else.
"""

import os
import sys
import tempfile
import time
from random import Random

import nbformat
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session
from nbclient import NotebookClient

# Generous: the machine may be busy with other tests.
PATIENCE = 600
MAX_TRACEBACK = 15
FUZZED = 10_000
# What the endless loop gets. The cells before it have warmed the kernel.
ENDLESS = 30

TRAINING = """
let data: std::sync::Arc<Dataset> = std::sync::Arc::new(Dataset::simulated(7));
let split: Split = data.split(&SplitPlan::default()).unwrap();
let training: TrainingData = TrainingData::of_dataset(data.clone(), &split, 0).unwrap();
"""
FIT = """
let settings: VaeSettings = VaeSettings {
    train: TrainConfig { epochs: 100_000, ..TrainConfig::default() },
    ..VaeSettings::default()
};
let (vae, history) = CountVae::fit(&training, &settings, &mut Run::new(0)).unwrap();
"""
SOLVING = """
use genailab::model::{diffusion::{GaussianMixture, OdeConfig, Solver, integrate}, flow::{FlowPath, MixtureVelocity}};
let mixture: GaussianMixture = GaussianMixture::round(&[0.5, 0.5], &Array2::eye(2), 0.1).unwrap();
let field: MixtureVelocity = MixtureVelocity::new(mixture, FlowPath::Linear);
println!("begun");
let end = integrate(&field, Array2::zeros((64, 2)), 0.0, 1.0, &OdeConfig::fixed(Solver::Rk4, 1_000_000)).unwrap();
"""
OVERFLOW = "fn down(n: u64) -> u64 { if n == u64::MAX { 0 } else { 1 + down(n + 1) * 2 } }\ndown(std::hint::black_box(0))"

# Cell, ename, and what evalue and traceback have to say.
ERRORS = [
    ("let text: i32 = 1;\nlet wrong: i32 = \"one\";", "E0308", "mismatched types", "--> line 2, column 18"),
    ("let a = 1;\n  assert_eq!(a, 2, \"sizes\");", "Panic", "sizes", "--> line 2, column 3"),
    ("let n: u32 = 1;\nlet m: u32 = \"one\".parse()?;", "Returned", "invalid digit", "--> line 2, column 27"),
    ("let k = |x: i32| x + 1;", "Error", "closure", "wrapping your code in braces"),
    ("std::process::abort()", "Terminated", "aborted", "all variables are lost: kept (Vec<i32>)"),
    ("std::process::exit(3)", "Terminated", "exit code 3", "no variable is lost"),
    (OVERFLOW, "Terminated", "stack overflow", "no variable is lost"),
    ("let v: Vec<u8> = Vec::with_capacity(1 << 60);", "Terminated", "memory is used up", "no variable is lost"),
]


class Kernel:
    """A running kernel, its client, and what the last request brought."""

    def __init__(self, folder, **options):
        self.manager = KernelManager(kernel_name="genailab")
        self.manager.start_kernel(cwd=folder, **options)
        self.client = self.manager.blocking_client()
        self.client.start_channels()

    def finish(self, msg_id, channel="shell"):
        """The reply, and the messages that all clients saw until the kernel was idle again."""
        seen = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if message["msg_type"] != "status":
                seen.append((message["msg_type"], message["content"]))
        get = self.client.get_shell_msg if channel == "shell" else self.client.get_control_msg
        while True:
            reply = get(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == msg_id:
                return reply["content"], seen

    def run(self, code, **options):
        return self.finish(self.client.execute(code, **options))

    def ask(self, kind, content, channel="shell"):
        socket = getattr(self.client, f"{channel}_channel")
        message = self.client.session.msg(kind, content)
        socket.send(message)
        return self.finish(message["header"]["msg_id"], channel)[0]

    def interrupt_when(self, msg_id, is_time):
        """Sends an interrupt once `is_time` says of a message of the running cell that it is time."""
        seen = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == msg_id:
                seen.append((message["msg_type"], message["content"]))
                if is_time(message, seen):
                    break
        self.manager.interrupt_kernel()
        return seen


def text_of(seen, name="stdout"):
    return "".join(content["text"] for kind, content in seen if kind == "stream" and content["name"] == name)


def check(condition, *about):
    if not condition:
        raise AssertionError(about)


def signatures(kernel):
    """A message with a wrong signature, or a damaged one, has no answer and does no harm."""
    wrong = Session(key=b"another key", session=kernel.client.session.session)
    socket = kernel.client.shell_channel.socket
    # On a busy machine the answers to what was asked while the kernel started may still be on their way.
    while socket.poll(500):
        socket.recv_multipart()
    wrong.send(socket, wrong.msg("kernel_info_request", {}))
    socket.send_multipart([b"<IDS|MSG>"])
    socket.send_multipart([b"<IDS|MSG>", b"xyz", b"{", b"", b"\xff", b"[]"])
    socket.send_multipart([b"no delimiter"])
    check(not kernel.client.shell_channel.is_alive() or not socket.poll(1000), "an unsigned request was answered")
    reply = kernel.ask("kernel_info_request", {})
    check(reply["status"] == "ok" and reply["protocol_version"] == "5.4", reply)


def fuzz(kernel):
    """Random frames, and rightly signed messages with random content, neither crash nor hang the kernel."""
    random = Random(0)
    kinds = ["execute_request", "complete_request", "inspect_request", "is_complete_request", "history_request",
             "comm_info_request", "comm_open", "comm_msg", "kernel_info_request", "input_reply", "", "nonsense"]
    values = [None, True, -1, 0, 7, 1e300, "", "é∂", "{", "let", "*", [], {}, [[]], {"code": 1}]
    # A cell is compiled if it holds code, so its code is none here.
    no_code = [value for value in values if not isinstance(value, str)] + ["", "// é"]
    session, socket = kernel.client.session, kernel.client.shell_channel.socket
    fields = ["cursor_pos", "pattern", "n", "start", "stop", "hist_access_type", "unique", "silent", "store_history",
              "comm_id", "data", "value", "detail_level"]
    for number in range(FUZZED):
        if number % 2:
            frames = [random.randbytes(random.randrange(40)) for _ in range(random.randrange(1, 9))]
            if random.random() < 0.7:
                frames.insert(random.randrange(len(frames) + 1), b"<IDS|MSG>")
            socket.send_multipart(frames)
        else:
            kind = random.choice(kinds)
            content = {field: random.choice(values) for field in random.sample(fields, 4)}
            content["code"] = random.choice(no_code if kind == "execute_request" else values)
            session.send(socket, session.msg(kind, random.choice([content, content, content, "[]", "{"])))
    check(kernel.run("6 * 7")[1][-1][1]["data"] == {"text/plain": "42"})


def execution(kernel):
    reply, seen = kernel.run("let kept: Vec<i32> = vec![1, 2, 3];\nkept.len()")
    first = reply["execution_count"]
    check(reply["status"] == "ok", reply)
    check(seen[-1][1]["data"] == {"text/plain": "3"}, seen)
    reply, _ = kernel.run("1", store_history=False)
    check(reply["execution_count"] == first, reply)
    reply, seen = kernel.run("println!(\"said\"); 1", silent=True)
    check(reply["execution_count"] == first and seen == [], reply, seen)
    # A failed cell aborts those that wait, unless it was told not to.
    failing = kernel.client.execute("panic!(\"planted\")")
    waiting = kernel.client.execute("1")
    check(kernel.finish(failing)[0]["status"] == "error")
    check(kernel.finish(waiting)[0]["status"] == "aborted")
    failing = kernel.client.execute("panic!(\"planted\")", stop_on_error=False)
    waiting = kernel.client.execute("kept[2]")
    check(kernel.finish(failing)[0]["status"] == "error")
    check(kernel.finish(waiting)[0]["status"] == "ok")
    # A panic that was caught is text.
    reply, seen = kernel.run("std::panic::catch_unwind(|| panic!(\"caught\")).is_err()")
    check(reply["status"] == "ok" and "caught" in text_of(seen, "stderr"), reply, seen)


def small_requests(kernel):
    check(kernel.ask("comm_info_request", {})["comms"] == {})
    check(kernel.ask("is_complete_request", {"code": "fn f() {"})["status"] == "incomplete")
    history = kernel.ask("history_request", {"hist_access_type": "tail", "n": 1})["history"]
    check("catch_unwind" in history[0][2], history)
    cell = "let é: usize = kept.le"
    reply = kernel.ask("complete_request", {"code": cell, "cursor_pos": len(cell)})
    check("len()" in reply["matches"] and reply["cursor_start"] == len(cell) - 2, reply)
    check(kernel.run("use genailab::prelude::*;")[0]["status"] == "ok")
    reply = kernel.ask("inspect_request", {"code": "Dataset::open", "cursor_pos": 11, "detail_level": 0})
    check(reply["found"] and "pub fn open" in reply["data"]["text/plain"], reply)
    check(not kernel.ask("inspect_request", {"code": "nothing_here", "cursor_pos": 3})["found"])


def displays(kernel):
    """Two figures and text from one cell, in order; a training that is replaced in place."""
    cell = """
fn table(caption: &str) -> Grid {
    let mut grid = Grid::new(caption, [("column", Align::Left)]);
    grid.push(["cell"]).unwrap();
    grid
}
println!("before");
table("first").show();
println!("between");
table("second").show();
println!("after");
"""
    reply, seen = kernel.run("use genailab::show::{Align, Grid};\n" + cell)
    check(reply["status"] == "ok", reply)
    order = [content["text"].strip() if kind == "stream" else kind for kind, content in seen[1:]]
    check(order == ["before", "display_data", "between", "display_data", "after"], order)
    html = [content["data"]["text/html"] for kind, content in seen if kind == "display_data"]
    check("first" in html[0] and "second" in html[1], html)


def interruption(kernel):
    """A training ends early and keeps its model; a loop of the user's own is killed, and the loss is said."""
    check(kernel.run(TRAINING)[0]["status"] == "ok")
    training = kernel.client.execute(FIT)
    seen = kernel.interrupt_when(training, lambda message, seen: sum("loss" in str(m) for m in seen) > 40)
    kinds = [kind for kind, _ in seen if "display" in kind]
    check(kinds[0] == "display_data" and set(kinds[1:]) == {"update_display_data"}, kinds)
    names = {content["transient"]["display_id"] for kind, content in seen if "display" in kind}
    check(len(names) == 1, names)
    begun = time.monotonic()
    reply, _ = kernel.finish(training)
    check(reply["ename"] == "Interrupted" and time.monotonic() - begun < 5, reply)
    reply, seen = kernel.run("println!(\"{} {}\", history.epochs.len(), training.genes.len());")
    check(reply["status"] == "ok" and int(text_of(seen).split()[0]) > 0, reply, seen)
    solving = kernel.client.execute(SOLVING)
    kernel.interrupt_when(solving, lambda message, _: message["msg_type"] == "stream")
    reply, _ = kernel.finish(solving)
    check(reply["ename"] == "Interrupted" and "killed" not in reply["evalue"], reply)
    # The process is idle while a cell compiles: nothing is lost.
    compiling = kernel.client.execute("println!(\"never\");")
    kernel.interrupt_when(compiling, lambda message, _: message["msg_type"] == "execute_input")
    reply, seen = kernel.finish(compiling)
    check(reply["ename"] == "Interrupted" and text_of(seen) == "", reply, seen)
    check(kernel.run("history.epochs.len()")[0]["status"] == "ok")
    endless = kernel.client.execute("println!(\"begun\");\nloop { std::hint::spin_loop(); }")
    kernel.interrupt_when(endless, lambda message, _: message["msg_type"] == "stream")
    kernel.manager.interrupt_kernel()
    reply, _ = kernel.finish(endless)
    check(reply["ename"] == "Interrupted" and "killed" in reply["evalue"], reply)
    check("history" in "\n".join(reply["traceback"]), reply)
    check(kernel.run("1 + 1")[0]["status"] == "ok")


def errors_through_nbclient(folder):
    cells = ["let kept: Vec<i32> = vec![1];"] + [cell for cell, *_ in ERRORS] + ["loop { std::hint::spin_loop(); }"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook,
        kernel_name="genailab",
        timeout_func=lambda cell: ENDLESS if cell.source.startswith("loop") else PATIENCE,
        startup_timeout=60,
        allow_errors=True,
        interrupt_on_timeout=True,
        resources={"metadata": {"path": folder}},
    )
    client.execute()
    found = [[o for o in cell.outputs if o["output_type"] == "error"] for cell in notebook.cells]
    check(found[0] == [], found[0])
    expected = ERRORS + [(cells[-1], "Interrupted", "killed", "no variable is lost")]
    for (cell, ename, evalue, trace), errors in zip(expected, found[1:]):
        check(len(errors) == 1, cell, errors)
        error = errors[0]
        text = "\n".join(error["traceback"])
        check(error["ename"] == ename and evalue in error["evalue"] and trace in text, cell, error)
        check("\n" not in error["evalue"] and len(error["traceback"]) <= MAX_TRACEBACK, cell, error)


def without_rust():
    """A kernel that cannot start says in the cell what is missing."""
    with tempfile.TemporaryDirectory() as home:
        paths = {name: os.environ[name] for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR") if name in os.environ}
        kernel = Kernel(home, env={"HOME": home, "PATH": home, **paths})
        try:
            kernel.client.wait_for_ready(timeout=60)
            reply, _ = kernel.run("1 + 1")
            check(reply["ename"] == "StartFailed" and "Rust is missing" in reply["evalue"], reply)
        finally:
            kernel.client.stop_channels()
            kernel.manager.shutdown_kernel(now=True)


def shutdown(kernel):
    reply = kernel.client.session.msg("shutdown_request", {"restart": False})
    kernel.client.control_channel.send(reply)
    answer = kernel.client.get_control_msg(timeout=PATIENCE)["content"]
    check(answer == {"status": "ok", "restart": False}, answer)
    for _ in range(300):
        if not kernel.manager.is_alive():
            return
        time.sleep(0.1)
    raise AssertionError("the kernel did not end")


def main():
    (folder,) = sys.argv[1:]
    # Whoever asks for backtraces gets longer tracebacks.
    os.environ.pop("RUST_BACKTRACE", None)
    begun = time.monotonic()
    kernel = Kernel(folder)
    try:
        kernel.client.wait_for_ready(timeout=60)
        ready = time.monotonic() - begun
        for part in (signatures, fuzz, execution, small_requests, displays, interruption, shutdown):
            part(kernel)
            print(f"{part.__name__}: ok after {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        kernel.client.stop_channels()
        if kernel.manager.is_alive():
            kernel.manager.shutdown_kernel(now=True)
    without_rust()
    errors_through_nbclient(folder)
    print(f"ready after {ready:.1f} s, {len(ERRORS) + 1} kinds of errors, all in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
