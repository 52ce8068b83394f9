// Which names other tabs of this origin serve their brokers under. Tabs ask on a channel of their own and answer if they share.

const CHANNEL = 'columba-playground';

/** Answers for this tab from now on. */
export function answerNeighbours(world) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data === 'who' && world.broker && world.target.share) channel.postMessage({ name: world.target.share });
  };
}

/** Calls `found(name)` for each tab that answers; returns what ends it. */
export function askNeighbours(found) {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (typeof data?.name === 'string') found(data.name);
  };
  channel.postMessage('who');
  return () => channel.close();
}
