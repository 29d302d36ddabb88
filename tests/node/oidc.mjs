// An OpenID provider that nobody here wrote (oidc-provider), with tokens of five seconds and refresh tokens that serve once. Its port is
// the first argument; it says `ready`. Its login takes any name and password.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'trueup',
      client_secret: 'MARK-client-secret-0a',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/back'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    },
    {
      client_id: 'machine',
      client_secret: 'MARK-machine-secret',
      redirect_uris: [],
      response_types: [],
      grant_types: ['client_credentials'],
    },
  ],
  features: { clientCredentials: { enabled: true }, revocation: { enabled: true }, devInteractions: { enabled: true } },
  scopes: ['openid', 'offline_access', 'read', 'write'],
  ttl: { AccessToken: 5, ClientCredentials: 5, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, AuthorizationCode: 60 },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
});
http.createServer(provider.callback()).listen(port, '127.0.0.1', () => console.log('ready'));
