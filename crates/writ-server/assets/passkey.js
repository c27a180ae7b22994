// Passkeys: a form with [data-passkey] is sent twice. First it asks what is to be signed; the browser
// lets the person confirm it; then it is sent with what the passkey signed.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const WHY = {
    NotAllowedError: "Nothing was sent: it was cancelled, or took too long.",
    InvalidStateError: "Nothing was sent: this authenticator holds a passkey of yours already.",
    NotSupportedError: "Nothing was sent: the authenticator cannot make a passkey that is taken here.",
    SecurityError: "Nothing was sent: passkeys do not work at this address.",
    AbortError: "Nothing was sent: it was cancelled.",
  };

  const send = async (form, fields) => {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(fields),
      redirect: "error",
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error([said.detail, ...(said.fix || [])].filter(Boolean).map((one) => one[0].toUpperCase() + one.slice(1)).join(". ") + ".");
    return said;
  };

  const sign = async (asked) => {
    const found = await navigator.credentials.get({ publicKey: {
      challenge: bytes(asked.get.challenge),
      rpId: asked.get.rpId,
      allowCredentials: asked.get.allow.map((id) => ({ type: "public-key", id: bytes(id) })),
      userVerification: "required",
      timeout: asked.get.timeout,
    } });
    return {
      mark: asked.mark,
      credentialId: text(found.rawId),
      clientDataJson: text(found.response.clientDataJSON),
      authenticatorData: text(found.response.authenticatorData),
      signature: text(found.response.signature),
    };
  };

  const make = async (asked) => {
    const { create } = asked;
    const made = await navigator.credentials.create({ publicKey: {
      challenge: bytes(create.challenge),
      rp: { id: create.rpId, name: "Writ" },
      user: { id: bytes(create.user), name: create.name, displayName: create.name },
      pubKeyCredParams: create.algorithms.map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: create.exclude.map((id) => ({ type: "public-key", id: bytes(id) })),
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "none",
      timeout: create.timeout,
    } });
    return {
      mark: asked.mark,
      clientDataJson: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
    };
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const place = form.querySelector("[data-passkey]");
    if (!place) return;
    const without = place.querySelector("[data-passkey-without]");
    const instead = place.dataset.passkeyInstead && form.elements[place.dataset.passkeyInstead];
    if ((without && without.checked) || (instead && instead.value)) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    const said = place.querySelector("[data-passkey-said]");
    const say = (words, wrong) => { said.textContent = words; said.classList.toggle("wrong", wrong); };
    const button = event.submitter;
    form.setAttribute("aria-busy", "true");
    try {
      if (!window.PublicKeyCredential) throw new Error("This browser has no passkeys. Use another one, or an address that begins with https.");
      say("Your browser asks for your passkey.", false);
      const fields = new FormData(form);
      if (button && button.name) fields.set(button.name, button.value);
      fields.set("passkey", "prepare");
      let asked = await send(form, fields);
      let signed = asked.create ? await make(asked) : await sign(asked);
      while (asked.last === false) {
        fields.set("passkey", JSON.stringify(signed));
        asked = await send(form, fields);
        signed = asked.create ? await make(asked) : await sign(asked);
      }
      place.querySelector("input[name=passkey]").value = JSON.stringify(signed);
      // A form that is sent by a script does not say which button was pressed.
      if (button && button.name) {
        const pressed = document.createElement("input");
        pressed.type = "hidden";
        pressed.name = button.name;
        pressed.value = button.value;
        place.append(pressed);
      }
      // What the passkey stands for needs no secret any more.
      for (const field of form.querySelectorAll("input[type=password]")) if (asked.create) field.value = "";
      form.submit();
    } catch (error) {
      say(WHY[error.name] || error.message || "Nothing was sent.", true);
      form.removeAttribute("aria-busy");
      if (button) button.focus();
    }
  });
})();
