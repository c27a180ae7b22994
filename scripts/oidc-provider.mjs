// The identity provider of the tests: a certified implementation with one client and people who are always
// signed in there. Started by scripts/services with PORT, in a folder where the pinned package is installed.
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const installed = createRequire(pathToFileURL(`${process.env.INSTALLED}/`));
const { Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')).href);

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;

function key(kid, alg, ...args) {
  return { ...generateKeyPairSync(...args).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
}

// One client per way to sign, and one without a secret. Native: any port of the loopback is its redirect address.
function client(id, more) {
  return {
    client_id: id,
    client_secret: 'a secret of the tests: +/%&',
    application_type: 'native',
    redirect_uris: [`http://127.0.0.1/sign-in/with/${id}/back`],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    ...more,
  };
}

const provider = new Provider(issuer, {
  clients: [
    client('rs256', {}),
    client('es256', { id_token_signed_response_alg: 'ES256' }),
    client('public', { token_endpoint_auth_method: 'none', client_secret: undefined }),
  ],
  jwks: {
    keys: [
      key('rsa', 'RS256', 'rsa', { modulusLength: 2048 }),
      key('ec', 'ES256', 'ec', { namedCurve: 'P-256' }),
    ],
  },
  cookies: { keys: ['a key of the tests'] },
  claims: { openid: ['sub', 'amr'], profile: ['name', 'preferred_username', 'groups'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: 'Grace Hopper', preferred_username: 'grace', groups: ['developers'] }),
  }),
  // First-party clients: nobody is asked whether they agree.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  ctx.respond = false;
  // People are always known, and always agree: native clients are asked for that each time.
  const { prompt } = await provider.interactionDetails(ctx.req, ctx.res);
  const known = prompt.name === 'login';
  const result = known ? { login: { accountId: 'g-1', amr: ['pwd', 'mfa'] } } : { consent: {} };
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: !known });
});
provider.listen(port, '127.0.0.1');
