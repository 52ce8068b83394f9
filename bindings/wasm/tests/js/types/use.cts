// The same for `require`.

import columba = require('columba');

const broker: columba.Broker = new columba.Broker();
const listening: Promise<columba.Listener> = broker.listen();
export = listening;
