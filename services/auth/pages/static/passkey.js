"use strict";
// The one thing that a page can't do by itself: a browser hands a passkey only to a script.

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: (options.excludeCredentials ?? []).map((known) => ({ ...known, id: bytes(known.id) })),
    },
  });
  return answer(made, {
    clientDataJSON: text(made.response.clientDataJSON),
    attestationObject: text(made.response.attestationObject),
  });
}

async function get(options) {
  const found = await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: options.allowCredentials.map((known) => ({ ...known, id: bytes(known.id) })),
    },
  });
  return answer(found, {
    clientDataJSON: text(found.response.clientDataJSON),
    authenticatorData: text(found.response.authenticatorData),
    signature: text(found.response.signature),
  });
}

const answer = (credential, response) =>
  JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });

const form = document.querySelector("form[data-passkey]");
if (window.PublicKeyCredential) {
  form.hidden = false;
  document.querySelector("[data-without-passkey]").hidden = true;
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [button, failed] = [form.querySelector("button"), form.querySelector("[role=alert]")];
  button.disabled = true;
  failed.hidden = true;
  try {
    const ask = form.dataset.passkey === "create" ? create : get;
    form.elements.answer.value = await ask(JSON.parse(form.dataset.options));
    form.submit();
  } catch {
    failed.hidden = false;
    button.disabled = false;
  }
});
