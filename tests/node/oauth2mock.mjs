// A token server that nobody here wrote (oauth2-mock-server), with tokens of five seconds, refresh tokens that serve once, and a 503 instead
// of every other renewal. Its port is the first argument; it says `ready`. `/userinfo` knows tokens that have not ended.
import { Events, OAuth2Server } from 'oauth2-mock-server';

const LIFETIME_S = 5;
const server = new OAuth2Server();
const good = new Set();
const ends = new Map();
let asked = 0;
await server.issuer.keys.generate('RS256');
server.service.on(Events.BeforeTokenSigning, (token) => {
  token.payload.exp = token.payload.iat + LIFETIME_S;
  token.payload.jti = crypto.randomUUID(); // else two tokens of one second are the same
});
server.service.on(Events.BeforeResponse, (response, request) => {
  if (request.body.grant_type === 'refresh_token') {
    asked += 1;
    if (asked % 2 === 0) {
      response.statusCode = 503;
      response.body = { error: 'temporarily_unavailable' };
      return;
    }
    if (!good.delete(request.body.refresh_token)) {
      response.statusCode = 400;
      response.body = { error: 'invalid_grant', error_description: 'it was used before' };
      return;
    }
  }
  response.body.expires_in = LIFETIME_S;
  ends.set(response.body.access_token, Date.now() + LIFETIME_S * 1000);
  if (response.body.refresh_token) good.add(response.body.refresh_token);
});
server.service.on(Events.BeforeUserinfo, (response, request) => {
  const token = (request.headers.authorization ?? '').replace('Bearer ', '');
  if (!((ends.get(token) ?? 0) > Date.now())) response.statusCode = 401;
});
await server.start(Number(process.argv[2]), '127.0.0.1');
console.log('ready');
