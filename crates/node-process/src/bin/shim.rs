//! The shim verb without the rest of the product, and two programs to run under it in tests.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("shim") => node_process::shim_main(args.into_iter().skip(1)),
        Some("serve") => serve(&args[1..]),
        _ => ExitCode::FAILURE,
    }
}

/// Answers every HTTP request with its own arguments until it is killed.
fn serve(args: &[String]) -> ExitCode {
    let text = format!("{}\n", args.join(" "));
    let host = args.iter().find_map(|a| a.strip_prefix("--host=")).map(str::to_owned);
    let host = host.or_else(|| std::env::var("POD_IP").ok()).unwrap_or_default();
    let port = args.iter().find_map(|a| a.strip_prefix("--port=")?.parse().ok()).unwrap_or(8080);
    let Ok(listener) = TcpListener::bind((host.as_str(), port)) else { return ExitCode::FAILURE };
    let _ = writeln!(std::io::stdout(), "serving {text}");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.read(&mut [0; 4096]);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
        let _ = stream.write_all(format!("{head}{text}").as_bytes());
    }
    ExitCode::SUCCESS
}
