//! The first run of somebody who has no configuration file.

use std::{io::Write as _, net::TcpStream, time::Duration};

use anyhow::{Result, ensure};
use gateway_tests::lab::{Gateway, Lab, SERVER_V4, alone, await_that, require_lab};

#[test]
#[ignore = "needs root: `cargo xtask test` runs it"]
fn a_service_of_the_command_line_is_gated_and_without_one_it_is_said() -> Result<()> {
    require_lab();
    let _alone = alone();
    let lab = Lab::new()?;
    let _nginx = lab.nginx()?;
    let mut gateway = Gateway::prepare(&lab, "", &["--mode", "enforce", "--service", "tls:443,8443"])?;
    gateway.run()?;
    let status = gateway.done(&["status"])?;
    ensure!(!status.contains("no service is configured"), "{status}");
    let mut stream = lab
        .client
        .enter(|| TcpStream::connect_timeout(&(SERVER_V4, 443).into(), Duration::from_secs(5)))??;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")?;
    await_that("the plaintext is dropped", Duration::from_secs(10), || {
        let status = gateway.document(&["status", "--json"])?;
        let rows = status["traffic"].as_array().into_iter().flatten();
        let dropped = rows.filter(|row| row["verdict"] == "drop" && row["reason"] == "plaintext_http");
        Ok(dropped.filter_map(|row| row["packets"].as_u64()).sum::<u64>() > 0)
    })?;
    drop(gateway);
    let gateway = Gateway::start(&lab, "mode = \"enforce\"\n")?;
    let status = gateway.done(&["status"])?;
    ensure!(status.contains("no service is configured") && status.contains("--service tls:443"), "{status}");
    let refused =
        gateway.cli(&["run", "--interface", "lo", "--service", "tls:443", "--service", "tls:400-500"])?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    Ok(())
}
