//! The same program under every runtime: nothing of it knows which.

use std::time::Duration;

use columba::{Broker, BrokerGone, Publish, QoS, ReasonCode, Version};
use futures::executor::{LocalPool, ThreadPool, block_on};
use futures::future::join;
use futures::task::{LocalSpawnExt, SpawnExt};

use crate::world::{Wire, next, text, within_deadline};

/// What a program does with a broker, from its start to its end.
async fn smoke(broker: Broker) {
    let publisher = broker.client("publisher").connect().await.unwrap();
    let subscriber = broker.client("subscriber").connect().await.unwrap();
    subscriber.subscribe("n", QoS::ExactlyOnce).await.unwrap();
    let mut wire = Wire::connect(&broker, "wire", Version::V5).await;
    wire.subscribe("n", QoS::AtMostOnce).await;
    let publish = async {
        for (number, qos) in
            (0..3000).zip([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().cycle())
        {
            publisher.send(Publish::new("n", number.to_string()).qos(qos)).await.unwrap();
        }
    };
    let receive = async {
        for number in 0..3000 {
            assert_eq!(text(&next(&subscriber).await), number.to_string());
            assert_eq!(wire.next().await.publish().payload, number.to_string().as_bytes());
        }
    };
    join(publish, receive).await;
    let mut silent = Wire::open(&broker, Version::V3_1_1);
    assert_eq!(broker.metrics().await.unwrap().sessions, 3);
    broker.shutdown(Duration::from_mins(1)).await;
    assert_eq!(wire.disconnected().await, ReasonCode::ServerShuttingDown);
    silent.ended().await;
    assert!(subscriber.recv().await.is_none());
    assert_eq!(broker.metrics().await.err(), Some(BrokerGone));
}

/// The same from several threads that share one broker, and one client.
fn crowd(broker: &Broker) {
    let shared = block_on(broker.client("shared").connect()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (broker, shared) = (broker.clone(), shared.clone());
            std::thread::spawn(move || {
                block_on(async {
                    let own = broker.client("").connect().await.unwrap();
                    let topic = format!("thread/{thread}");
                    own.subscribe(&topic, QoS::AtLeastOnce).await.unwrap();
                    for number in 0..2000 {
                        let message = Publish::new(topic.as_str(), number.to_string()).qos(QoS::ExactlyOnce);
                        shared.send(message).await.unwrap();
                        assert_eq!(text(&next(&own).await), number.to_string());
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn without_any_runtime() {
    within_deadline(|| {
        let (broker, driver) = Broker::builder().build();
        block_on(join(driver, smoke(broker)));
    });
}

#[test]
fn on_a_thread_of_its_own() {
    within_deadline(|| {
        let (broker, driver) = Broker::builder().build();
        let thread = std::thread::spawn(|| block_on(driver));
        crowd(&broker);
        block_on(smoke(broker));
        thread.join().expect("the driver's future is finished");
    });
}

#[test]
fn on_a_pool_of_one_thread() {
    within_deadline(|| {
        let (broker, driver) = Broker::builder().build();
        let mut pool = LocalPool::new();
        pool.spawner().spawn_local(driver).unwrap();
        pool.run_until(smoke(broker));
        // The driver's future is finished, so there is an end to this.
        pool.run();
    });
}

#[test]
fn on_a_pool_of_threads() {
    within_deadline(|| {
        let pool = ThreadPool::builder().pool_size(4).create().unwrap();
        let (broker, driver) = Broker::builder().build();
        let finished = pool.spawn_with_handle(driver).unwrap();
        crowd(&broker);
        let program = pool.spawn_with_handle(smoke(broker)).unwrap();
        block_on(join(program, finished));
    });
}

#[test]
fn a_driver_can_move_between_threads_and_tasks() {
    within_deadline(|| {
        let (broker, mut driver) = Broker::builder().build();
        let mut program = Box::pin(smoke(broker));
        // A few polls here, a few there, each time with another waker.
        loop {
            let (next_driver, next_program, done) = std::thread::spawn(move || {
                let done = block_on(async {
                    for _ in 0..1000 {
                        if futures::poll!(&mut driver).is_ready() {
                            program.as_mut().await;
                            return true;
                        }
                        if futures::poll!(program.as_mut()).is_ready() {
                            return true;
                        }
                    }
                    false
                });
                (driver, program, done)
            })
            .join()
            .unwrap();
            (driver, program) = (next_driver, next_program);
            if done {
                break;
            }
        }
    });
}

#[cfg(feature = "tokio")]
mod under_tokio {
    use columba::tokio::TokioIo;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn on_the_current_thread() {
        within_deadline(|| {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { smoke(columba::tokio::start(Broker::builder())).await });
        });
    }

    #[test]
    fn on_many_threads() {
        within_deadline(|| {
            let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
            let (broker, driver) = Broker::builder().timer(columba::tokio::Timer::default()).build();
            let driver = {
                let _inside = runtime.enter();
                columba::tokio::spawn(driver)
            };
            crowd(&broker);
            let program = runtime.spawn(smoke(broker));
            runtime.block_on(async {
                program.await.unwrap();
                driver.await.expect("the driver's future is finished");
            });
        });
    }

    #[test]
    fn a_stream_of_tokio_is_a_transport() {
        within_deadline(|| {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let broker = columba::tokio::start(Broker::builder());
                for capacity in [1, 10, 4096] {
                    let (theirs, ours) = tokio::io::duplex(capacity);
                    broker.attach(TokioIo::new(theirs), columba::Peer::default()).unwrap();
                    talk(ours).await;
                }
                broker.shutdown(Duration::ZERO).await;
            });
        });
    }

    /// CONNECT, a subscription, a message of 100,000 bytes there and back, and the end. A broker does not read from a
    /// client that does not, so both are done at the same time.
    async fn talk(mut stream: tokio::io::DuplexStream) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let message = [&b"\x30\xA3\x8D\x06\x00\x01t"[..], &vec![b'x'; 100_000]].concat();
        {
            let (mut read, mut write) = tokio::io::split(&mut stream);
            let greeting = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a\x82\x06\x00\x01\x00\x01t\x00";
            let mut answers = [0; 9];
            let (sent, came) = futures::join!(write.write_all(greeting), read.read_exact(&mut answers));
            sent.and(came).unwrap();
            assert_eq!(answers, *b"\x20\x02\x00\x00\x90\x03\x00\x01\x00");
            let mut echo = vec![0; message.len()];
            let (sent, came) = futures::join!(write.write_all(&message), read.read_exact(&mut echo));
            sent.and(came).unwrap();
            assert!(echo == message);
        }
        stream.write_all(b"\xE0\x00").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[test]
    fn a_silent_client_is_sent_away_by_tokios_clock() {
        within_deadline(|| {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let builder = Broker::builder().configure(|config| config.limits.connect_timeout = 1);
                let broker = columba::tokio::start(builder);
                Wire::open(&broker, Version::V5).ended().await;
            });
        });
    }

    #[test]
    fn a_runtime_that_ends_takes_the_broker_with_it() {
        within_deadline(|| {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
            let broker = runtime.block_on(async { columba::tokio::start(Broker::builder()) });
            let client = block_on(broker.client("a").connect()).unwrap();
            drop(runtime);
            assert!(block_on(client.recv()).is_none());
            assert!(broker.is_gone());
        });
    }
}

#[cfg(feature = "smol")]
mod under_smol {
    use super::*;

    #[test]
    fn on_the_global_executor() {
        within_deadline(|| {
            let broker = columba::smol::start(Broker::builder());
            crowd(&broker);
            smol::block_on(smoke(broker));
        });
    }

    #[test]
    fn on_an_executor_of_its_own() {
        within_deadline(|| {
            let executor = smol::LocalExecutor::new();
            let (broker, driver) = Broker::builder().timer(columba::smol::Timer::default()).build();
            let driver = executor.spawn(driver);
            smol::block_on(executor.run(async {
                smoke(broker).await;
                driver.await;
            }));
        });
    }

    #[test]
    fn a_silent_client_is_sent_away_by_smols_clock() {
        within_deadline(|| {
            let builder = Broker::builder().configure(|config| config.limits.connect_timeout = 1);
            let broker = columba::smol::start(builder);
            smol::block_on(Wire::open(&broker, Version::V5).ended());
        });
    }
}
