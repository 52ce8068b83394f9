//! A broker under smol, with a TCP port: no tokio anywhere.
//!
//!     cargo run -p columba-examples --bin smol_app
//!
//! Whatever speaks the traits of `futures::io` is a transport; accepting is three lines of the program's own. It prints:
//!
//!     greeter: ConnAck
//!     app: greeting hello
//!     shut down

use std::io;
use std::time::Duration;

use columba::codec::{Connect, Disconnect, FixedHeader, Packet, Publish, ReasonCode, TopicName};
use columba::{Broker, FuturesIo, Peer, QoS, Version};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let broker = columba::smol::start(Broker::builder());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = smol::spawn(accept(broker.clone(), listener));

        let app = broker.client("app").connect().await?;
        app.subscribe("greeting", QoS::AtMostOnce).await?;
        greet(TcpStream::connect(address).await?).await?;
        let message = app.recv().await.ok_or("the broker is gone")?;
        println!("app: {} {}", message.topic(), String::from_utf8_lossy(message.payload()));

        accepting.cancel().await;
        broker.shutdown(Duration::from_secs(1)).await;
        println!("shut down");
        Ok(())
    })
}

async fn accept(broker: Broker, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peer = Peer { transport: "tcp", address: Some(address.to_string().into()), ..Peer::default() };
        broker.attach(FuturesIo::new(stream), peer).map_err(io::Error::other)?;
    }
}

/// A client by hand, packet by packet: the codec has both sides.
async fn greet(mut stream: TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    let version = Version::V3_1_1;
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(Connect::new(version, "greeter"))).encode(version, &mut bytes)?;
    stream.write_all(&bytes).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    let header = FixedHeader::read(&answer, answer.len())?.ok_or("half a packet")?;
    println!("greeter: {:?}", Packet::decode(header, &answer[header.len..], version)?.packet_type());

    bytes.clear();
    Packet::Publish(Publish::new(TopicName::parse("greeting")?, b"hello")).encode(version, &mut bytes)?;
    Packet::Disconnect(Disconnect::new(ReasonCode::Success)).encode(version, &mut bytes)?;
    stream.write_all(&bytes).await?;
    Ok(())
}
