// "Tell me on this device": asks the browser for permission when the button is pressed, never before, and registers
// what it gives. All texts come from data- attributes.

const READY_MS = 10000;

const card = document.querySelector("[data-push]");

if (card) {
  const find = (name) => card.querySelector(`[data-push-${name}]`);
  const texts = card.dataset;
  const on = find("on");
  const off = find("off");
  const state = find("state");
  const csrfToken = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const supported = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

  const call = async (method, path, body) => {
    const answer = await fetch(path, {
      method,
      headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken },
      body: body && JSON.stringify(body),
    });
    if (!answer.ok && answer.status !== 404) throw new Error(`answered ${answer.status}`);
    return answer;
  };

  const bytes = (base64url) => {
    const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  };

  const registration = () =>
    Promise.race([
      navigator.serviceWorker.ready,
      new Promise((resolve, reject) => window.setTimeout(() => reject(new Error("no service worker")), READY_MS)),
    ]);

  const sameKey = (subscription) => {
    const key = subscription.options.applicationServerKey;
    return !key || String(new Uint8Array(key)) === String(bytes(texts.key));
  };

  // The subscription of this very user, made with the key that the server signs with today.
  const mine = async () => {
    const subscription = await (await registration()).pushManager.getSubscription();
    const isMine = subscription && window.localStorage.getItem("push-user") === texts.user && sameKey(subscription);
    return isMine ? subscription : null;
  };

  const deviceName = () => {
    const { brands = [], platform = "" } = navigator.userAgentData ?? {};
    const brand = brands.map((one) => one.brand).find((name) => !/not.?a.?brand|chromium/i.test(name));
    return [brand ?? (brands.length ? "Chromium" : ""), platform].filter(Boolean).join(", ");
  };

  const show = (isOn, text) => {
    on.hidden = isOn;
    off.hidden = !isOn;
    state.textContent = text ?? (isOn ? texts.textOn : texts.textOff);
  };

  const register = (subscription) =>
    call("POST", texts.endpoint, { ...pick(subscription.toJSON()), name: deviceName() });

  const pick = ({ endpoint, keys }) => ({ endpoint, keys: { p256dh: keys.p256dh, auth: keys.auth } });

  const switchOn = async () => {
    if ((await Notification.requestPermission()) !== "granted") {
      show(false, Notification.permission === "denied" ? texts.textBlocked : texts.textRefused);
      return;
    }
    const { pushManager } = await registration();
    // One that was made for somebody else, or with another key, is of no use.
    await (await pushManager.getSubscription())?.unsubscribe();
    const subscription = await pushManager.subscribe({
      userVisibleOnly: true,
      applicationServerKey: bytes(texts.key),
    });
    try {
      await register(subscription);
    } catch (error) {
      await subscription.unsubscribe();
      throw error;
    }
    window.localStorage.setItem("push-user", texts.user);
    window.location.reload();
  };

  const switchOff = async () => {
    const subscription = await mine();
    if (subscription) {
      const devices = await (await call("GET", texts.endpoint)).json();
      const device = devices.find((one) => one.endpoint === subscription.endpoint);
      if (device) await call("DELETE", `${texts.endpoint}${device.id}/`);
      await subscription.unsubscribe();
    }
    window.localStorage.removeItem("push-user");
    window.location.reload();
  };

  const guarded = (action) => async () => {
    on.disabled = off.disabled = true;
    try {
      await action();
    } catch {
      state.textContent = texts.textFailed;
    } finally {
      on.disabled = off.disabled = false;
    }
  };

  const begin = async () => {
    if (!supported) {
      state.textContent = texts.textUnsupported;
      return;
    }
    if (Notification.permission === "denied") {
      state.textContent = texts.textBlocked;
      return;
    }
    on.addEventListener("click", guarded(switchOn));
    off.addEventListener("click", guarded(switchOff));
    // Nobody switched it on here: no need to wait for the service worker to say so.
    if (window.localStorage.getItem("push-user") !== texts.user) {
      show(false);
      return;
    }
    const subscription = await mine().catch(() => null);
    show(Boolean(subscription));
    // The browser may have renewed it, or the device was removed elsewhere: say it again, that does no harm.
    if (subscription) await register(subscription).catch(() => null);
  };

  begin();
}
