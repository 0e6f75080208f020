// A product that uses auth through openid-client, which is certified: node product.mjs PORT ISSUER CLIENT_ID CLIENT_SECRET
// Everything that it learns, it shows as JSON to the browser that asked.
import { createServer } from "node:http";
import * as oidc from "openid-client";

const [port, issuer, clientId, clientSecret] = process.argv.slice(2);
const here = `http://localhost:${port}`;
const config = await oidc.discovery(new URL(issuer), clientId, clientSecret, oidc.ClientSecretBasic(clientSecret), {
  execute: [oidc.allowInsecureRequests], // http on the loopback
});

let begun; // the login under way
let tokens; // as they came, oldest first

const told = (set) => ({ claims: set.claims(), scope: set.scope, expires_in: set.expires_in });

const pages = {
  async "/login"(url) {
    begun = { verifier: oidc.randomPKCECodeVerifier(), state: oidc.randomState(), nonce: oidc.randomNonce() };
    return oidc.buildAuthorizationUrl(config, {
      redirect_uri: `${here}/callback`,
      scope: "openid profile affiliations",
      code_challenge: await oidc.calculatePKCECodeChallenge(begun.verifier),
      code_challenge_method: "S256",
      state: begun.state,
      nonce: begun.nonce,
      ...Object.fromEntries(url.searchParams),
    });
  },
  async "/callback"(url) {
    const set = await oidc.authorizationCodeGrant(config, url, {
      pkceCodeVerifier: begun.verifier,
      expectedState: begun.state,
      expectedNonce: begun.nonce,
      idTokenExpected: true,
    });
    tokens = [set];
    return { ...told(set), userinfo: await oidc.fetchUserInfo(config, set.access_token, set.claims().sub) };
  },
  async "/refresh"() {
    const set = await oidc.refreshTokenGrant(config, tokens.at(-1).refresh_token);
    tokens.push(set);
    return told(set);
  },
  // As a thief would who had copied the first refresh token.
  "/refresh-with-the-first": async () => told(await oidc.refreshTokenGrant(config, tokens[0].refresh_token)),
  "/introspect": () => oidc.tokenIntrospection(config, tokens.at(-1).access_token),
  "/revoke": async () => (await oidc.tokenRevocation(config, tokens.at(-1).refresh_token)) ?? {},
  "/logout": () =>
    oidc.buildEndSessionUrl(config, {
      id_token_hint: tokens.at(-1).id_token,
      post_logout_redirect_uri: `${here}/goodbye`,
      state: "over",
    }),
  "/goodbye": (url) => Object.fromEntries(url.searchParams),
};

createServer(async (request, response) => {
  const url = new URL(request.url, here);
  try {
    const answer = (await pages[url.pathname]?.(url)) ?? { error: "no such page" };
    if (answer instanceof URL) response.writeHead(303, { Location: answer.href }).end();
    else response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  } catch (error) {
    const { name, code, message, error: oauth } = error;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ failed: { name, code, message, oauth } }));
  }
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
