// All lessons, in the order of learning.

import messageExpiry from './message-expiry.js';
import noLocal from './no-local.js';
import qos0 from './qos0.js';
import qos1 from './qos1.js';
import qos2 from './qos2.js';
import receiveMaximum from './receive-maximum.js';
import requestResponse from './request-response.js';
import retained from './retained.js';
import sessionExpiry from './session-expiry.js';
import shared from './shared.js';
import takeover from './takeover.js';
import topicAlias from './topic-alias.js';
import will from './will.js';
import willDelay from './will-delay.js';

export const lessons = [
  qos0, qos1, qos2, retained, will, willDelay, sessionExpiry, takeover, shared, receiveMaximum, topicAlias, messageExpiry,
  requestResponse, noLocal,
];
