// A broker that all pages of a site share.

import { Broker, init } from '../columba/columba.js';

await init();
new Broker().serveSharedWorker();
