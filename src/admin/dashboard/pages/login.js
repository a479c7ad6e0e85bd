// Name and password for a token, which lives as long as this tab.

import { call, session } from '../api.js';
import { field, h, put } from '../dom.js';

export default {
  title: 'Log in',
  isBare: true,
  show({ element, show }) {
    const user = h('input', { name: 'username', autocomplete: 'username', required: true, value: 'admin', autocapitalize: 'off' });
    const password = h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true });
    const failure = h('p', { class: 'strip bad', role: 'alert', hidden: true });
    const submit = h('button', { class: 'main' }, 'Log in');
    const form = h('form', {
      class: 'card login',
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        failure.hidden = true;
        try {
          const answer = await call('POST', '/login', { username: user.value, password: password.value });
          session.token = answer.token;
          show();
        } catch (error) {
          if (error.status === undefined) throw error;
          const isWrong = error.status === 401;
          put(failure, isWrong ? 'This name and password do not match.' : error.message);
          failure.hidden = false;
          password.select();
        } finally {
          submit.disabled = false;
        }
      },
    },
    h('h1', {}, h('img', { src: 'icon.svg', alt: '', width: 28, height: 28 }), ' Myriad'),
    field('User', user), field('Password', password), failure, submit,
    h('p', { class: 'muted' }, 'The first start of a broker prints a password for the user admin. Lost it? On the broker’s machine: ',
      h('code', {}, 'myriadctl passwd <data_dir>/admin.users admin')));
    put(element, form);
    password.focus();
  },
};
